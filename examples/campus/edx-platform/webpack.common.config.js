// What the production and the development build share.
'use strict';

const path = require('node:path');
const MiniCssExtractPlugin = require('mini-css-extract-plugin');
const BundleTracker = require('webpack-bundle-tracker');

// Both services serve the same bundles, and each reads the names from its own static root.
const statsFolders = [
  process.env.STATIC_ROOT_LMS || path.resolve(__dirname, 'staticfiles'),
  process.env.STATIC_ROOT_CMS || path.resolve(__dirname, 'staticfiles/studio'),
];

module.exports = {
  context: __dirname,
  entry: {
    commons: './common/static/js/commons.js',
    // LMS
    CourseHome: './lms/static/js/CourseHome.jsx',
    CourseProgress: './lms/static/js/CourseProgress.jsx',
    CourseSearch: './lms/static/js/CourseSearch.jsx',
    InstructorDashboard: './lms/static/js/InstructorDashboard.jsx',
    VideoPlayer: './lms/static/js/VideoPlayer.jsx',
    // CMS
    CourseOutline: './cms/static/js/CourseOutline.jsx',
    Library: './cms/static/js/Library.jsx',
    ProblemEditor: './cms/static/js/ProblemEditor.jsx',
  },
  output: {
    path: path.resolve(__dirname, 'common/static/bundles'),
    filename: '[name].[contenthash].js',
    chunkFilename: '[name].[contenthash].js',
    publicPath: '/static/bundles/',
    clean: true,
  },
  plugins: [
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
        exclude: /node_modules\/(?!(d3-[a-z]+|d3|chart\.js|@reduxjs|hls\.js)\/)/,
        use: {
          loader: 'babel-loader',
          options: {
            babelrc: false,
            presets: [
              ['@babel/preset-env', { targets: 'defaults, ie 11' }],
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
