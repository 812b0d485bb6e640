// hello5 as a service of Restate: `node restate_service.cjs PORT`, with NODE_PATH set to the packages of the peers.

// The SDK needs this, and Node has it from version 22 on.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((...functions) => ([resolve, reject] = functions));
  return { promise, resolve, reject };
};

const restate = require("@restatedev/restate-sdk");

const bench = restate.service({
  name: "bench",
  handlers: {
    hello5: async (context) => {
      const said = [];
      for (const city of ["Tokyo", "Seattle", "London", "Paris", "Lima"]) {
        said.push(await context.run("hello", () => `Hello ${city}!`));
      }
      return said;
    },
  },
});

restate.serve({ services: [bench], port: Number(process.argv[2]) });
