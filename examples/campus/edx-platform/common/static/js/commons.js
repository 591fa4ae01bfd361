// Loaded by every page: the globals that older scripts expect.
import $ from 'jquery';
import _ from 'underscore';
import Backbone from 'backbone';
import 'bootstrap/js/dist/dropdown';
import 'bootstrap/js/dist/modal';

Object.assign(window, { $, jQuery: $, _, Backbone });
