// The state that the parts of a page share.
import { configureStore, createSlice } from '@reduxjs/toolkit';

const blocks = createSlice({
  name: 'blocks',
  initialState: { byId: {}, order: [] },
  reducers: {
    loaded(state, { payload }) {
      payload.forEach((block) => { state.byId[block.id] = block; });
      state.order = payload.map((block) => block.id);
    },
    moved(state, { payload: { id, to } }) {
      state.order = state.order.filter((other) => other !== id);
      state.order.splice(to, 0, id);
    },
    completed(state, { payload }) {
      if (state.byId[payload]) state.byId[payload].completed = true;
    },
  },
});

export const { loaded, moved, completed } = blocks.actions;
export const makeStore = () => configureStore({ reducer: { blocks: blocks.reducer } });
