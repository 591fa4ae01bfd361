import React from 'react';
import { Provider, useSelector } from 'react-redux';
import classNames from 'classnames';
import _ from 'lodash';
import mount from '../../../common/static/js/mount.jsx';
import { makeStore, loaded } from '../../../common/static/js/store.js';
import { until } from '../../../common/static/js/dates.js';

function Units() {
  const { byId, order } = useSelector((state) => state.blocks);
  const groups = _.groupBy(order.map((id) => byId[id]), 'section');
  return _.map(groups, (units, section) => (
    <section key={section}>
      <h2>{section}</h2>
      {_.sortBy(units, 'due').map((unit) => (
        <p key={unit.id} className={classNames('unit', { completed: unit.completed })}>
          {unit.title} <small>{until(unit.due)}</small>
        </p>
      ))}
    </section>
  ));
}

const store = makeStore();
store.dispatch(loaded([
  { id: 'a', section: 'Week 1', title: 'The library', due: '2026-12-01T12:00:00Z', completed: true },
  { id: 'b', section: 'Week 1', title: 'The lab', due: '2026-12-08T12:00:00Z', completed: false },
]));
mount('course-home', <Provider store={store}><Units /></Provider>);
