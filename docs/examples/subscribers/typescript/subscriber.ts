// Follows what runs where: the current deployment of each environment, and the status of each deployment.
import { randomUUID } from "node:crypto";
import { Consumer, MessagesStreamModes } from "@platformatic/kafka";

const states = process.env.STATE_TOPIC || "rudder.deployment-state";
const changes = (process.env.STATUS_TOPICS || "rudder.deployment-status").split(",");
const servers = (process.env.KAFKA_BOOTSTRAP_SERVERS || "127.0.0.1:9092").split(",");
const types = ["dev.rudder.deployment.state.v1", "dev.rudder.deployment.status_changed.v1"];
const versions = new Map<string, number>(); // by environment and by deployment

// A group of its own for each start, which commits nothing: it reads every partition from the beginning.
const consumer = new Consumer({
  clientId: "subscriber",
  groupId: `subscriber-${randomUUID()}`,
  bootstrapBrokers: servers,
  autocommit: false,
});
const stream = await consumer.consume({ topics: [states, ...changes], mode: MessagesStreamModes.EARLIEST });

for await (const { topic, key, value, headers } of stream) {
  const text = new Map([...headers].map(([name, content]) => [String(name), String(content)]));
  const type = types.indexOf(text.get("ce_type") ?? "");
  if (topic === states && !value?.length) {
    // A tombstone: the release was deleted.
    const name = `environment ${key}`;
    if (versions.delete(name)) console.log(JSON.stringify({ name, status: null }));
  } else if (type >= 0) {
    // Not dead letters and events of releases, where one topic has all.
    const { deployment_id: deployment, status, release_version } = JSON.parse(String(value));
    const names = type === 0 ? [`deployment ${deployment}`, `environment ${key}`] : [`deployment ${deployment}`];
    for (const name of names) {
      const version = release_version ?? 0;
      if (version <= (versions.get(name) ?? -1)) continue; // it repeats, or is older than what is known
      versions.set(name, version);
      console.log(JSON.stringify({ name, deployment, status, version }));
    }
  }
}
