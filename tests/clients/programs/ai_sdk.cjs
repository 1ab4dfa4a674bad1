// The AI SDK: the default of its provider for OpenAI is Responses.
const { createRequire } = require("node:module");
const load = createRequire(process.env.MODULES + "/x.js");
const { generateText, streamText, tool, stepCountIs, isStepCount } = load("ai");
const { createOpenAI } = load("@ai-sdk/openai");
const { z } = load("zod");
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY });
const multiply = tool({
  description: "Multiply two numbers.",
  inputSchema: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => a * b,
});
(async () => {
  const stream = streamText({
    model: openai(process.env.MODEL),
    prompt: "Six times seven, twice",
    tools: { multiply },
    stopWhen: (stepCountIs ?? isStepCount)(5),
    maxRetries: 0,
    onError: ({ error }) => { throw error; },
  });
  for await (const piece of stream.textStream) process.stdout.write(piece);
  process.stdout.write("\n");
})().catch((error) => { console.error(error); process.exit(1); });
