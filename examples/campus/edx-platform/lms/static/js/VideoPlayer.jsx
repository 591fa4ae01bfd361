import React, { useEffect, useRef } from 'react';
import Hls from 'hls.js';
import mount from '../../../common/static/js/mount.jsx';

function Video({ source }) {
  const element = useRef(null);
  useEffect(() => {
    if (!Hls.isSupported()) {
      element.current.src = source;
      return undefined;
    }
    const hls = new Hls();
    hls.loadSource(source);
    hls.attachMedia(element.current);
    return () => hls.destroy();
  }, [source]);
  return <video ref={element} controls />;
}

const target = document.getElementById('video-player');
if (target) mount('video-player', <Video source={target.dataset.source} />);
