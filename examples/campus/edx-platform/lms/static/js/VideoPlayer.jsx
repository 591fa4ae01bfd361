import React, { useRef, useState } from 'react';
import _ from 'lodash';
import mount from '../../../common/static/js/mount.jsx';

const SPEEDS = [0.75, 1, 1.25, 1.5, 2];

function Video({ source }) {
  const element = useRef(null);
  const [speed, setSpeed] = useState(1);
  const choose = (chosen) => {
    element.current.playbackRate = chosen;
    setSpeed(chosen);
  };
  return (
    <>
      <video ref={element} src={source} controls />
      {_.map(SPEEDS, (each) => (
        <button key={each} type="button" disabled={each === speed} onClick={() => choose(each)}>{each}x</button>
      ))}
    </>
  );
}

const target = document.getElementById('video-player');
if (target) mount('video-player', <Video source={target.dataset.source} />);
