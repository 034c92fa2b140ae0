import test from 'tape'
import { comeAndGo } from './scenario.ts'

test('20 processes: peers are killed and come back, the author disappears', (t) => comeAndGo(t, 20, 1))
