// Asks a server for flags through the official OpenFeature SDK and its OFREP provider.
const { OpenFeature } = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");

const [url, token] = process.argv.slice(2);

function tell(details, value = (value) => value) {
  return details.errorCode
    ? `${details.errorCode} ${details.reason}`
    : `${value(details.value)} ${details.variant} ${details.reason}`;
}

async function main() {
  const provider = new OFREPProvider({ baseUrl: url, headers: [["Authorization", `Bearer ${token}`]] });
  await OpenFeature.setProviderAndWait(provider);
  OpenFeature.setLogger({ error() {}, warn() {}, info() {}, debug() {} });
  const client = OpenFeature.getClient();
  const user = (targetingKey, more = {}) => ({ targetingKey, ...more });
  const off = await client.getBooleanDetails("switched-off", false, user("x"));
  const told = {
    "search-control": tell(await client.getBooleanDetails("new-search", true, user("user-1"))),
    "search-exposed": tell(await client.getBooleanDetails("new-search", false, user("user-13"))),
    banner: tell(await client.getStringDetails("banner", "", user("x", { email: "jo@example.com" }))),
    "banner-default": tell(await client.getStringDetails("banner", "", user("x"))),
    limit: tell(await client.getNumberDetails("limit", 0, user("x"))),
    ratio: tell(await client.getNumberDetails("ratio", 0, user("x")), (ratio) => ratio.toFixed(1)),
    theme: tell(await client.getObjectDetails("theme", {}, user("x")), (theme) => theme.colour),
    absent: tell(await client.getBooleanDetails("absent", false, user("x"))),
    "no-key": tell(await client.getBooleanDetails("new-search", false, {})),
    "switched-off": off.value === false ? `code-default ${off.reason}` : String(off.value),
  };
  console.log(JSON.stringify(told));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
