import { fuzzFiles } from './fuzz/files.ts'
const [from, count] = [Number(process.argv[2]), Number(process.argv[3])]
const codes: Record<string, number> = {}
let bad = 0
for (let seed = from; seed < from + count; seed++) {
  const { code, problems } = await fuzzFiles(seed)
  codes[code] = (codes[code] ?? 0) + 1
  if (problems.length > 0) { bad++; console.log('SEED', seed, code, problems.map(p => p.split('\n').slice(0,6).join('\n')).join('\n--')) }
}
console.log(codes, 'bad', bad)
process.exit(0)
