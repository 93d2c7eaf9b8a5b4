// Follows what runs where: the current deployment of each environment, and the status of each deployment.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	states   = cmp.Or(os.Getenv("STATE_TOPIC"), "rudder.deployment-state")
	changes  = cmp.Or(os.Getenv("STATUS_TOPICS"), "rudder.deployment-status")
	servers  = cmp.Or(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), "127.0.0.1:9092")
	versions = map[string]int64{} // by environment and by deployment
	output   = json.NewEncoder(os.Stdout)
)

func main() {
	// Without a group it reads every partition from the beginning. The versions decide what is old, not the order.
	topics := append(strings.Split(changes, ","), states)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(servers, ",")...), kgo.ConsumeTopics(topics...))
	if err != nil {
		log.Fatal(err)
	}
	for {
		fetches := client.PollFetches(context.Background())
		fetches.EachError(func(topic string, partition int32, err error) { log.Println(topic, partition, err) })
		fetches.EachRecord(take)
	}
}

func take(record *kgo.Record) {
	kind := ""
	for _, header := range record.Headers {
		if header.Key == "ce_type" {
			kind = string(header.Value)
		}
	}
	if environment := "environment " + string(record.Key); record.Topic == states && record.Value == nil {
		if _, known := versions[environment]; known { // a tombstone: the release was deleted
			delete(versions, environment)
			output.Encode(map[string]any{"name": environment, "status": nil})
		}
	} else if kind == "dev.rudder.deployment.state.v1" {
		apply(record, environment)
	} else if kind != "dev.rudder.deployment.status_changed.v1" {
		return // dead letters and events of releases, where one topic has all
	}
	apply(record, "")
}

func apply(record *kgo.Record, name string) {
	var data struct {
		Deployment string `json:"deployment_id"`
		Status     string `json:"status"`
		Version    int64  `json:"release_version"` // null is 0
	}
	if record.Value == nil {
		return
	} else if err := json.Unmarshal(record.Value, &data); err != nil {
		log.Fatal(err)
	}
	name = cmp.Or(name, "deployment "+data.Deployment)
	if version, known := versions[name]; !known || data.Version > version { // else it repeats, or is older
		versions[name] = data.Version
		output.Encode(map[string]any{"name": name, "deployment": data.Deployment, "status": data.Status, "version": data.Version})
	}
}
