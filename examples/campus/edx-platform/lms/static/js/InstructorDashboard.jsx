import React, { useEffect, useRef } from 'react';
import Chart from 'chart.js/auto';
import _ from 'lodash';
import mount from '../../../common/static/js/mount.jsx';
import { showDate } from '../../../common/static/js/dates.js';

function Grades({ grades }) {
  const canvas = useRef(null);
  useEffect(() => {
    const bins = _.countBy(grades, (grade) => 10 * Math.floor(grade / 10));
    const labels = _.sortBy(_.keys(bins), Number);
    const chart = new Chart(canvas.current, {
      type: 'bar',
      data: {
        labels,
        datasets: [{ label: 'Learners', data: labels.map((label) => bins[label]) }],
      },
    });
    return () => chart.destroy();
  }, [grades]);
  return <><canvas ref={canvas} /><p>mean {_.round(_.mean(grades), 1)}, {showDate(new Date())}</p></>;
}

mount('instructor-dashboard', <Grades grades={_.times(300, () => _.random(30, 99))} />);
