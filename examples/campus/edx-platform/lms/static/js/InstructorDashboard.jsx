import React, { useEffect, useRef } from 'react';
import Chart from 'chart.js/auto';
import * as d3 from 'd3';
import _ from 'lodash';
import mount from '../../../common/static/js/mount.jsx';
import { showDate } from '../../../common/static/js/dates.js';

function Grades({ grades }) {
  const canvas = useRef(null);
  useEffect(() => {
    const bins = d3.bin().domain([0, 100]).thresholds(10)(grades);
    const chart = new Chart(canvas.current, {
      type: 'bar',
      data: {
        labels: bins.map((bin) => `${bin.x0}-${bin.x1}`),
        datasets: [{ label: 'Learners', data: bins.map((bin) => bin.length) }],
      },
    });
    return () => chart.destroy();
  }, [grades]);
  return <><canvas ref={canvas} /><p>mean {_.round(_.mean(grades), 1)}, {showDate(new Date())}</p></>;
}

mount('instructor-dashboard', <Grades grades={_.times(300, () => d3.randomNormal(70, 12)())} />);
