import React, { useMemo, useState } from 'react';
import _ from 'lodash';
import mount from '../../../common/static/js/mount.jsx';

function Search({ cards }) {
  const [words, setWords] = useState('');
  const search = useMemo(() => _.debounce(setWords, 150), []);
  const wanted = _.words(_.deburr(words).toLowerCase());
  const found = cards.filter((card) => wanted.every((word) => _.deburr(card).toLowerCase().includes(word)));
  return <><input type="search" onChange={(event) => search(event.target.value)} /><p>{found.length}</p></>;
}

const cards = Array.from(document.querySelectorAll('.course-card h2'), (element) => element.textContent);
mount('course-search', <Search cards={cards} />);
