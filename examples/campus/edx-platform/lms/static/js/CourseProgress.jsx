import React, { useEffect, useRef } from 'react';
import * as d3 from 'd3';
import mount from '../../../common/static/js/mount.jsx';
import { showDate } from '../../../common/static/js/dates.js';

const points = d3.range(12).map((week) => ({
  date: new Date(Date.UTC(2026, 0, 5 + 7 * week)), done: Math.round(100 * Math.sqrt(week / 11)),
}));

function Progress({ width = 640, height = 240 }) {
  const svg = useRef(null);
  useEffect(() => {
    const x = d3.scaleUtc().domain(d3.extent(points, (p) => p.date)).range([40, width - 10]);
    const y = d3.scaleLinear().domain([0, 100]).range([height - 20, 10]);
    const root = d3.select(svg.current);
    root.selectAll('*').remove();
    root.append('g').attr('transform', `translate(0,${height - 20})`).call(d3.axisBottom(x));
    root.append('g').attr('transform', 'translate(40,0)').call(d3.axisLeft(y));
    root.append('path').datum(points).attr('class', 'progress-line')
      .attr('d', d3.line().x((p) => x(p.date)).y((p) => y(p.done)).curve(d3.curveMonotoneX));
  }, [width, height]);
  return <figure><svg ref={svg} width={width} height={height} /><figcaption>{showDate(points.at(-1).date)}</figcaption></figure>;
}

mount('course-progress', <Progress />);
