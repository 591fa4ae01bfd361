import React from 'react';
import { Provider, useDispatch, useSelector } from 'react-redux';
import _ from 'lodash';
import mount from '../../../common/static/js/mount.jsx';
import { makeStore, loaded, moved } from '../../../common/static/js/store.js';
import { showDate } from '../../../common/static/js/dates.js';

function Outline() {
  const dispatch = useDispatch();
  const { byId, order } = useSelector((state) => state.blocks);
  return (
    <ol>
      {order.map((id, place) => (
        <li key={id}>
          {_.startCase(byId[id].title)}, {showDate(byId[id].start, 'Europe/Paris', 'fr')}
          <button type="button" disabled={place === 0} onClick={() => dispatch(moved({ id, to: place - 1 }))}>up</button>
        </li>
      ))}
    </ol>
  );
}

const store = makeStore();
store.dispatch(loaded([
  { id: 'a', title: 'the library', start: '2026-12-01T12:00:00Z' },
  { id: 'b', title: 'the lab', start: '2026-12-08T12:00:00Z' },
]));
mount('course-outline', <Provider store={store}><Outline /></Provider>);
