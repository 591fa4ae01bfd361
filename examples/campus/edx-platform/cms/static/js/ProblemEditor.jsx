import React, { useEffect, useRef } from 'react';
import CodeMirror from 'codemirror';
import 'codemirror/lib/codemirror.css';
import 'codemirror/mode/markdown/markdown';
import 'codemirror/mode/python/python';
import 'codemirror/mode/xml/xml';
import _ from 'lodash';
import mount from '../../../common/static/js/mount.jsx';

function Editor({ text, onChange }) {
  const area = useRef(null);
  useEffect(() => {
    const editor = CodeMirror.fromTextArea(area.current, { mode: 'xml', lineNumbers: true });
    const changed = _.throttle(() => onChange(editor.getValue()), 500);
    editor.on('change', changed);
    return () => editor.toTextArea();
  }, [onChange]);
  return <textarea ref={area} defaultValue={text} />;
}

mount('problem-editor', <Editor text="<problem/>" onChange={(text) => window.dispatchEvent(new CustomEvent('problem', { detail: text }))} />);
