'use strict'

// require() of the ES module gives its namespace object. Callers of the published packages expect the
// callable itself, so that is the export, and it carries the named exports as properties. It is the same
// function that `import` gives: both ways into the package share one set of classes.
const api = require('../dist/hypercore.js')

module.exports = Object.assign(api.hypercore, api)
