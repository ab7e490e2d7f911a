// Verifies what is posted to it with the npm package `standardwebhooks`, as a customer's server would.
// Its secret is the first argument. Says its port, then one line for each request; `/once-500` answers
// 500 to the first verified message of each id.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.argv[2]);
const known = new Set();

function judge(body, headers) {
  try {
    const event = webhook.verify(body, headers);
    const isAgain = known.has(event.id);
    known.add(event.id);
    return { verified: true, again: isAgain, event };
  } catch (error) {
    return { verified: false, error: error.message };
  }
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const said = judge(Buffer.concat(chunks).toString("utf8"), request.headers);
  const fails = said.verified && !said.again && request.url === "/once-500";
  response.writeHead(said.verified ? (fails ? 500 : 204) : 400).end();
  console.log(JSON.stringify(said));
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
// The test is over, however it ended, when nobody holds our input any more.
createInterface({ input: process.stdin }).on("close", () => process.exit(0));
