// Build the application into dist/: one script, one style sheet and the page that loads them.
import fs from 'node:fs';
import path from 'node:path';
import * as esbuild from 'esbuild';
import * as sass from 'sass';

const base = process.env.PUBLIC_PATH ?? '/';
const settings = { lms: process.env.LMS_BASE_URL ?? '', site: process.env.SITE_NAME ?? 'Open edX' };

fs.rmSync('dist', { recursive: true, force: true });
const { metafile } = await esbuild.build({
  entryPoints: ['src/index.jsx'],
  bundle: true,
  minify: true,
  metafile: true,
  outdir: 'dist',
  entryNames: '[name].[hash]',
  define: { 'process.env.NODE_ENV': '"production"', SETTINGS: JSON.stringify(settings) },
});
const script = path.basename(Object.keys(metafile.outputs)[0]);
fs.writeFileSync('dist/index.css', sass.compile('src/index.scss', { style: 'compressed' }).css);
fs.writeFileSync('dist/index.html', `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${settings.site}</title><link rel="stylesheet" href="${base}index.css"></head>
<body><div id="root"></div><script src="${base}${script}"></script></body>
</html>
`);
console.log(`built ${script} for ${base}`);
