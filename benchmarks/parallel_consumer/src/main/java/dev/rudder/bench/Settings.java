package dev.rudder.bench;

import java.util.Map;

/**
 * What the benchmark says, in the worker's own variables.
 *
 * @param connections of the pool
 */
record Settings(
        String bootstrapServers,
        String groupId,
        String inputTopic,
        String deploymentStatusTopic,
        String releaseStatusTopic,
        String jdbcUrl,
        int concurrency,
        int connections,
        int lingerMs) {

    static Settings of(Map<String, String> variables) {
        return new Settings(
                required(variables, "RUDDER_KAFKA_BOOTSTRAP_SERVERS"),
                required(variables, "RUDDER_GROUP_ID"),
                required(variables, "RUDDER_INPUT_TOPICS"),
                required(variables, "RUDDER_DEPLOYMENT_STATUS_TOPIC"),
                required(variables, "RUDDER_RELEASE_STATUS_TOPIC"),
                required(variables, "BENCH_JDBC_URL"),
                Integer.parseInt(required(variables, "RUDDER_CONCURRENCY")),
                Integer.parseInt(required(variables, "BENCH_CONNECTIONS")),
                Integer.parseInt(required(variables, "BENCH_LINGER_MS")));
    }

    private static String required(Map<String, String> variables, String name) {
        String value = variables.get(name);
        if (value == null) {
            throw new IllegalArgumentException(name + " is not set");
        }
        return value;
    }
}
