package httpapi

// The words of the reference page that stand in no table.
const (
	referenceIntro = `---
title: HTTP API
description: Every route of an agent's HTTP API with its parameters, bodies, answers and errors.
---

<!-- Generated from the table of routes in agent/httpapi. Change it there, then: make docs -->

Every agent serves the same API, JSON over HTTP, on ` + "`http.addr` and `ports.http`" + ` (127.0.0.1:7400 unless
[configured](configuration.md)); with ` + "`http { tls = true }`" + ` as HTTPS. The same as an OpenAPI document: ` + "`GET /v1/openapi.json`" + `.
In Go use package ` + "`api`" + `, on the command line [pgraft](cli.md).

> In this release the API asks nobody who they are. Whoever reaches the port may change everything: leave it on the loopback
> address, or let ` + "`http { tls = true }`" + ` with ` + "`tls { verify_incoming = true }`" + ` ask for a certificate.

` + "```sh" + `
curl http://127.0.0.1:7400/v1/status
curl -X PUT --data-binary @config.json http://127.0.0.1:7400/v1/kv/app/config
curl "http://127.0.0.1:7400/v1/kv/app/config?raw"
curl "http://127.0.0.1:7400/v1/kv/app/config?index=7&wait=30s"
` + "```" + `

A switch is on as ` + "`?x`, `?x=true` or `?x=1`" + `. Parameters that a route doesn't know, and parameters given twice, are refused: a
misspelt ` + "`?recurse`" + ` must not change what is deleted. HEAD is answered as GET without the body.

## Who answers

* **The asked node** answers at once, of what it knows itself, with or without a leader.
* **The leader** answers reads and orders; another node sends the request on to it. Reads of these routes take:

  | parameter | meaning |
  |---|---|
  | *none* | The leader answers, while its lease holds and once it has all that the leader before it acknowledged: never old, unless the nodes' clocks run at very different speeds. |
  | ` + "`consistent`" + ` | The leader answers after a majority has confirmed it anew and all that was committed is applied: never old, whatever the clocks do; one round trip more. |
  | ` + "`stale`" + ` | The asked node answers from its own memory, with or without a leader. |

* **Any node, through the log**: the write is sent to the leader, and answered when a majority of the voters has it on disk and the
  leader has applied it. With ` + "`?redirect`" + ` a follower answers 307 with the leader's address instead.

## Headers

| header | in | meaning |
|---|---|---|
| ` + "`X-Pgraft-Index`" + ` | answers to reads | The index of what was read: pass it as ` + "`?index=`" + ` to wait for the next change. |
| ` + "`X-Pgraft-Known-Leader`" + ` | answers to reads | Whether the node that answered knows a leader. |
| ` + "`X-Pgraft-Last-Contact`" + ` | answers to reads | Milliseconds since it heard the leader: 0 on the leader, -1 for never. With ` + "`stale`" + `: how old the answer may be. |
| ` + "`X-Pgraft-Request-Id`" + ` | writes through the log | Makes the write safe to repeat: an id of the client's own, or the ` + "`request_id`" + ` of an answer in doubt. 1 to 128 of A-Z a-z 0-9 - _ . : |
| ` + "`X-Pgraft-Token`" + ` | requests | Not looked at in this release. |
| ` + "`Retry-After`" + ` | 429, 503 | Seconds. |
| ` + "`Allow`" + ` | 405 | The methods that the path has. |

## Blocking queries

A route that says *blocking* takes ` + "`index=N&wait=30s`" + ` and answers when something it reads changed after index N, or when the time is
over (300s unless given, at most 600s; up to a sixteenth is added at random, so that many clients don't come back at once). Take N from the
header ` + "`X-Pgraft-Index`" + ` of the answer before; when that goes down, after a restore, begin again without an index. That the query
returned is no promise that something changed.

## Writes that may have happened

503 says that a write was certainly **not** done, as does 504 with ` + "`timeout`" + `. 504 with ` + "`in_doubt`" + ` says that nobody can know: the leader failed
while it had the write.
The answer has a ` + "`request_id`" + `: send the same write again with it as ` + "`X-Pgraft-Request-Id`" + `, and it is applied once, whichever
of the two came through. 504 with ` + "`retry_expired`" + ` says that the repeat came too late to tell: look before you write again.
`

	referenceErrors = `
## Errors

Every answer that is not a success has an [Error](#error) as its body: a message, a stable ` + "`code`" + `, often a ` + "`hint`" + ` that says what to do.
All codes with their meaning and SQLSTATE: [Errors](errors.md).

| where | codes |
|---|---|
`

	referenceKV = `A key is all that stands behind ` + "`/v1/kv/`" + `, decoded once: ` + "`a//b` and `../c`" + ` are keys, too. A value is any bytes. Each change
gives the pair a new ` + "`version`" + ` (1, 2, 3 …) and ` + "`modify_index`" + `, which ` + "`cas`" + ` compares.

` + "```sh" + `
curl -X PUT -d 'pg1' "http://127.0.0.1:7400/v1/kv/app/owner?cas=0"      # only if there is none
curl "http://127.0.0.1:7400/v1/kv/app/?keys&separator=/"
curl -X DELETE "http://127.0.0.1:7400/v1/kv/app/?recurse"
curl -X PUT http://127.0.0.1:7400/v1/txn -d '{
  "compares": [{"key": "app/owner", "target": "value", "op": "==", "value": "cGcx"}],
  "success":  [{"op": "set", "key": "app/state", "value": "cnVubmluZw=="}],
  "failure":  [{"op": "get", "key": "app/owner"}]}'
` + "```" + `
`

	referenceSessions = `A lock is a key that a session holds: ` + "`PUT /v1/kv/KEY?acquire=SESSION`" + `, with 409 while another holds it. When a session's TTL
passes without a renewal, or it is destroyed, its locks are released (or the keys deleted, by its ` + "`behavior`" + `); for ` + "`lock_delay`" + ` after
a session ended with locks nobody gets them, so that their holder can notice. A new leader starts every TTL anew: a session never ends early.

` + "```sh" + `
curl -X PUT http://127.0.0.1:7400/v1/session/create -d '{"name": "nightly", "ttl": "15s"}'
` + "```" + `
`

	referenceEvents = "```sh" + `
curl -N "http://127.0.0.1:7400/v1/events?follow"
` + "```" + `

The stream sends ` + "`id`" + ` (the event's index), ` + "`event`" + ` (its type) and ` + "`data`" + ` (an [Event](#event)), and a comment line when it is quiet.
`

	referenceSettings = `Names and texts that the whole cluster keeps, and that every PostgreSQL has in ` + "`pgraft.setting`" + `. A name that is a key of the
[configuration](configuration.md) which a reload changes, such as ` + "`log_level`" + `, is obeyed by every agent and wins over its files; other
keys of the configuration are refused with 400. ` + "`autopilot`" + ` is autopilot's own. All other names are yours: the agents don't look at them.
`

	referenceSnapshots = `An archive is a gzip-compressed tar of ` + "`meta.json`, `state.bin` and `SHA256SUMS`" + `. It holds the registry, keys, sessions, settings and
events: not PostgreSQL's data. It is checked, byte by byte, before a download begins and before a restore changes anything.
`

	referenceCluster = `Orders about PostgreSQL servers with ` + "`mode = \"managed\"`" + `; elsewhere they are refused with 409. How it works:
[Managed PostgreSQL](../managed-postgresql.md).

` + "```sh" + `
curl -X POST -d '{"node": "pg2"}' http://127.0.0.1:7400/v1/cluster/switchover
curl -X POST http://127.0.0.1:7400/v1/cluster/pause
` + "```" + `
`

	referencePatroni = `As load balancers and exporters configured for Patroni expect them. 200 when the condition holds on the asked node, else 503, on
GET, HEAD and OPTIONS alike; only GET has a body. No route needs a leader or a quorum to answer, and no node says that it is the
primary without a quorum's proof.

` + "```sh" + `
curl -I http://127.0.0.1:7400/primary
curl "http://127.0.0.1:7400/replica?lag=16MB"
` + "```" + `
`

	referenceHealth = `200 when all is well, 503 with the reason when it is not. A load balancer or an orchestrator restarts by ` + "`/livez`" + ` and sends clients by
` + "`/readyz`" + `: a node that lost its quorum is alive, and restarting it would help nobody.

| check | holds when |
|---|---|
| ` + "`raft_leader`" + ` | the node leads with a majority's confirmation, or hears the leader |
| ` + "`fsm_caught_up`" + ` | its memory has what was committed, but for the last 1000 entries |
| ` + "`postgres`" + ` | its PostgreSQL answers and takes the rows; also where there is none |
| ` + "`voter`" + ` | it votes, or never shall (` + "`non_voting`" + `) |
| ` + "`gossip`" + ` | at least one other node is alive; also where there is no other |
| ` + "`worker`" + ` | nothing else keeps the agent from its work, such as a full disk |
`
)
