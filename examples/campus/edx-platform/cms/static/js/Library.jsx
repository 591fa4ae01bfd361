import React from 'react';
import * as d3 from 'd3';
import _ from 'lodash';
import mount from '../../../common/static/js/mount.jsx';

// The blocks of a library as a treemap: the bigger, the more courses use them.
function Library({ blocks, width = 480, height = 320 }) {
  const root = d3.treemap().size([width, height]).padding(2)(
    d3.hierarchy({ children: blocks }).sum((block) => block.uses || 0).sort((a, b) => b.value - a.value),
  );
  const color = d3.scaleOrdinal(d3.schemeTableau10).domain(_.uniq(_.map(blocks, 'kind')));
  return (
    <svg width={width} height={height}>
      {root.leaves().map((leaf) => (
        <rect key={leaf.data.name} x={leaf.x0} y={leaf.y0} width={leaf.x1 - leaf.x0} height={leaf.y1 - leaf.y0} fill={color(leaf.data.kind)} />
      ))}
    </svg>
  );
}

mount('library', <Library blocks={[{ name: 'poll', kind: 'ask', uses: 5 }, { name: 'drag and drop', kind: 'ask', uses: 9 }, { name: 'video', kind: 'show', uses: 20 }]} />);
