// Put a component into the element with this id, if the page has one.
import React from 'react';
import { createRoot } from 'react-dom/client';

export default function mount(id, component) {
  const element = document.getElementById(id);
  if (element) createRoot(element).render(<React.StrictMode>{component}</React.StrictMode>);
}
