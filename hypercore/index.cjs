'use strict'

// This folder is a package of its own, so that a project can install it as its `hypercore` (UPGRADING.md). It is a
// file, not only a `main` that points outside, because then `..` would start at the link that npm makes.
module.exports = require('../cjs/hypercore.cjs')
