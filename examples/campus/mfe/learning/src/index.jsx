import React, { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

// The courses, as the LMS lists them.
function Courses() {
  const [state, setState] = useState({ courses: [], error: null });
  useEffect(() => {
    fetch(`${SETTINGS.lms}/api/courses/v1/courses/`)
      .then((answer) => answer.json())
      .then(({ results }) => setState({ courses: results, error: null }))
      .catch((error) => setState({ courses: [], error }));
  }, []);
  if (state.error) return <p className="error">The LMS does not answer.</p>;
  return <ul>{state.courses.map((course) => <li key={course.key}>{course.title}</li>)}</ul>;
}

createRoot(document.getElementById('root')).render(
  <main><h1>{SETTINGS.site}</h1><Courses /></main>,
);
