// What the production and the development build share.
'use strict';

const path = require('node:path');
const webpack = require('webpack');
const MiniCssExtractPlugin = require('mini-css-extract-plugin');
const BundleTracker = require('webpack-bundle-tracker');

// Both services serve the same bundles, and each reads the names from its own static root.
const statsFolders = [
  process.env.STATIC_ROOT_LMS || path.resolve(__dirname, 'staticfiles'),
  process.env.STATIC_ROOT_CMS || path.resolve(__dirname, 'staticfiles/studio'),
];

function pages(service, names) {
  return Object.fromEntries(names.map((name) => [
    name, { import: `./${service}/static/js/${name}.jsx`, dependOn: 'commons' },
  ]));
}

module.exports = {
  context: __dirname,
  entry: {
    // every page loads this first
    commons: [
      './common/static/js/commons.js',
      './common/static/js/mount.jsx',
      './common/static/js/store.js',
      './common/static/js/dates.js',
      'lodash',
      'react-redux',
    ],
    ...pages('lms', ['CourseHome', 'CourseProgress', 'CourseSearch', 'InstructorDashboard', 'VideoPlayer']),
    ...pages('cms', ['CourseOutline', 'Library', 'ProblemEditor']),
  },
  output: {
    path: path.resolve(__dirname, 'common/static/bundles'),
    filename: '[name].[contenthash].js',
    chunkFilename: '[name].[contenthash].js',
    publicPath: '/static/bundles/',
    clean: true,
  },
  plugins: [
    // moment asks for all its languages; these are the ones that the site has
    new webpack.ContextReplacementPlugin(/moment[/\\]locale$/, /^\.\/(es|fr)$/),
    new MiniCssExtractPlugin({ filename: '[name].[contenthash].css' }),
    ...statsFolders.map((folder) => new BundleTracker({
      path: folder, filename: 'webpack-stats.json', relativePath: true,
    })),
  ],
  resolve: { extensions: ['.js', '.jsx'] },
  module: {
    rules: [
      {
        test: /\.(js|jsx)$/,
        exclude: /node_modules/,
        use: {
          loader: 'babel-loader',
          options: {
            babelrc: false,
            presets: [
              ['@babel/preset-env', { targets: 'defaults' }],
              '@babel/preset-react',
            ],
            sourceType: 'unambiguous',
          },
        },
      },
      { test: /\.css$/, use: [MiniCssExtractPlugin.loader, 'css-loader'] },
    ],
  },
};
