import hypercore = require('../cjs/hypercore.cjs')

export = hypercore
