// Compile the style sheets of LMS and CMS, for the default look and for each theme.
//
//   npm run compile-sass -- [--skip-default] [--skip-themes] [--env=development]
//
// A theme's sheet is the default one with the theme's partials first on the load path, so that a theme
// states only what it changes. Themes are folders below COMPREHENSIVE_THEME_DIRS (parted by colons).
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const sass = require('sass');

const { values: options } = parseArgs({
  options: {
    'skip-default': { type: 'boolean', default: false },
    'skip-themes': { type: 'boolean', default: false },
    env: { type: 'string', default: 'production' },
  },
});
const SERVICES = ['lms', 'cms'];

// The entry sheets of a folder; partials start with an underscore.
function sheets(folder) {
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder).filter((name) => /^[^_].*\.scss$/.test(name)).sort();
}

function compile(source, target, loadPaths) {
  const { css } = sass.compile(source, {
    loadPaths,
    style: options.env === 'production' ? 'compressed' : 'expanded',
    quietDeps: true,
    // Bootstrap 4, as Open edX uses it, is older than the module system of Sass
    silenceDeprecations: ['import', 'global-builtin', 'color-functions', 'slash-div', 'abs-percent', 'if-function'],
  });
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(target, css);
  console.log(`compiled ${source} -> ${target}`);
}

function compileService(service, out, themePartials) {
  const folder = path.join(service, 'static', 'sass');
  const loadPaths = [
    ...themePartials,
    path.join(folder, 'partials'),
    path.join('common', 'static', 'sass'),
    'node_modules',
  ];
  for (const name of sheets(folder)) {
    compile(path.join(folder, name), path.join(out, 'css', name.replace(/\.scss$/, '.css')), loadPaths);
  }
}

function themes() {
  const parents = (process.env.COMPREHENSIVE_THEME_DIRS || '').split(':').filter((p) => p && fs.existsSync(p));
  return parents.flatMap((parent) => fs.readdirSync(parent).sort().map((name) => path.join(parent, name)));
}

if (!options['skip-default']) {
  for (const service of SERVICES) compileService(service, path.join(service, 'static'), []);
}
if (!options['skip-themes']) {
  for (const theme of themes()) {
    for (const service of SERVICES) {
      const own = path.join(theme, service, 'static');
      if (fs.existsSync(own)) compileService(service, own, [path.join(own, 'sass', 'partials')]);
    }
  }
}
