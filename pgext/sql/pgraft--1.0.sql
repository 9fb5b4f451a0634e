\echo Use "CREATE EXTENSION pgraft" to load this file. \quit

-- The SQL side of pgraft 1.0: what the cluster agreed on as rows of schema pgraft, what this node's agent says of
-- itself and of the cluster as functions, and the commands. PostgreSQL 14 and later, primary or hot standby.
--
-- Every name is written out and every function pins its search_path, so nothing that a user creates can take the place
-- of what is meant here.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgraft_admin') THEN
        BEGIN
            CREATE ROLE pgraft_admin NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- created at the same moment from another database
        END;
    END IF;
END $$;

CREATE SCHEMA pgraft;
COMMENT ON SCHEMA pgraft IS 'what the pgraft cluster agreed on; written by the agent only';

------------------------------------------------------------------------------------------------------------------------
-- Tables
------------------------------------------------------------------------------------------------------------------------

-- Which script made this schema. The agent compares it with its own when the extension machinery can't be used.
CREATE FUNCTION pgraft.version() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$SELECT '1.0'::text$$;
COMMENT ON FUNCTION pgraft.version() IS 'version of the script that made these objects';

CREATE TABLE pgraft.meta (
    singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    cluster_id    text NOT NULL DEFAULT '',
    applied_index bigint NOT NULL DEFAULT 0,
    applied_term  bigint NOT NULL DEFAULT 0,
    updated_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pgraft.meta IS 'how far the rows of this schema follow the cluster''s log';
INSERT INTO pgraft.meta DEFAULT VALUES;

CREATE TABLE pgraft.kv (
    key          text COLLATE "C" PRIMARY KEY,
    value        text,
    value_bytes  bytea,
    flags        bigint NOT NULL DEFAULT 0,
    version      bigint NOT NULL,
    create_index bigint NOT NULL,
    modify_index bigint NOT NULL,
    session      text,
    CHECK ((value IS NULL) <> (value_bytes IS NULL))
);
COMMENT ON TABLE pgraft.kv IS 'the replicated key/value store';
COMMENT ON COLUMN pgraft.kv.value_bytes IS 'the value where it is not text; then column value is null';

CREATE TABLE pgraft.node (
    node_id          integer PRIMARY KEY,
    name             text COLLATE "C" NOT NULL UNIQUE DEFERRABLE,
    server_id        text NOT NULL,
    raft_address     text NOT NULL DEFAULT '',
    gossip_address   text NOT NULL DEFAULT '',
    http_address     text NOT NULL DEFAULT '',
    postgres_address text NOT NULL DEFAULT '',
    version          text NOT NULL DEFAULT '',
    non_voting       boolean NOT NULL DEFAULT false,
    witness          boolean NOT NULL DEFAULT false,
    zone             text NOT NULL DEFAULT '',
    create_index     bigint NOT NULL,
    modify_index     bigint NOT NULL
);
COMMENT ON TABLE pgraft.node IS 'the registry of nodes; whether a node is alive is in pgraft.members';

CREATE TABLE pgraft.setting (
    name         text COLLATE "C" PRIMARY KEY,
    value        text NOT NULL,
    create_index bigint NOT NULL,
    modify_index bigint NOT NULL
);
COMMENT ON TABLE pgraft.setting IS 'cluster-wide settings';

CREATE TABLE pgraft.event (
    index   bigint PRIMARY KEY,
    "time"  timestamptz NOT NULL,
    type    text NOT NULL,
    node    text,
    message text NOT NULL,
    data    jsonb
);
COMMENT ON TABLE pgraft.event IS 'the latest events of the cluster''s history';

CREATE TABLE pgraft.local (
    singleton    boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    run_dir      text NOT NULL,
    console_port integer NOT NULL,
    node_name    text NOT NULL DEFAULT ''
);
COMMENT ON TABLE pgraft.local IS 'where the agent beside this server keeps its status file and its console; a file pgraft.local in the data directory overrides it';

-- advance moves the applied index, in the transaction that writes the rows. It refuses when the rows are not what the
-- agent took them for: another agent wrote, the database was restored, or it is another cluster's.
CREATE FUNCTION pgraft.advance(old_index bigint, new_index bigint, new_term bigint, cluster text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    m pgraft.meta;
BEGIN
    UPDATE pgraft.meta AS t
       SET applied_index = new_index, applied_term = new_term, cluster_id = cluster, updated_at = clock_timestamp()
     WHERE t.singleton AND t.applied_index = old_index AND t.cluster_id IN (cluster, '') AND new_index >= old_index;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO m FROM pgraft.meta AS t WHERE t.singleton;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table pgraft.meta has lost its row'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Run DROP EXTENSION pgraft, or DROP SCHEMA pgraft CASCADE if there is no extension; the agent creates it again and fills it from the cluster''s state.';
    END IF;
    IF m.cluster_id NOT IN (cluster, '') THEN
        RAISE EXCEPTION 'this database holds the rows of another cluster'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('The rows are of cluster %s, the agent is of cluster %s.', m.cluster_id, cluster),
                  HINT = 'Point the agent to its own database, or, to give this database to the agent''s cluster, run DROP EXTENSION pgraft first, or DROP SCHEMA pgraft CASCADE if there is no extension.';
    END IF;
    IF new_index < old_index THEN
        RAISE EXCEPTION 'applied index can''t go back from % to %', old_index, new_index
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RAISE EXCEPTION 'applied index is % and not %', m.applied_index, old_index
        USING ERRCODE = 'serialization_failure',
              HINT = 'Another agent writes here or the database was restored; the agent reads the index and tries again.';
END $$;
COMMENT ON FUNCTION pgraft.advance(bigint, bigint, bigint, text) IS 'of the agent: move the applied index in the transaction that writes the rows';

------------------------------------------------------------------------------------------------------------------------
-- The status file. The agent replaces it several times a second; its first 512 bytes are one line of plain ASCII:
-- {"head":{…},  and the whole is one JSON object. Nothing here raises an error because of what the file holds or lacks,
-- and nothing in it is believed longer than the file itself says by clock_timestamp().
------------------------------------------------------------------------------------------------------------------------

-- Never from a setting: a user could point it to a file of his own.
CREATE FUNCTION pgraft.local_place(OUT run_dir text, OUT console_port integer)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    f jsonb;
BEGIN
    f := pg_read_file('pgraft.local', 0, 4096, true);
    IF f IS NOT NULL THEN
        run_dir := f ->> 'run_dir';
        console_port := f ->> 'console_port';
        RETURN;
    END IF;
    SELECT l.run_dir, l.console_port INTO run_dir, console_port FROM pgraft.local AS l;
END $$;
COMMENT ON FUNCTION pgraft.local_place() IS 'internal: where the agent keeps its status file and its console';

-- A file from the future tells that the clock was set back since: then nothing can be said of its age.
CREATE FUNCTION pgraft.head(OUT fresh boolean, OUT is_leader boolean, OUT leader_id bigint, OUT term bigint, OUT worker_state text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    h jsonb;
    now_us bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    h := (rtrim(split_part(pg_read_file((pgraft.local_place()).run_dir || '/status.json', 0, 512, true), E'\n', 1), ' ,') || '}')::jsonb -> 'head';
    fresh := coalesce(now_us < (h ->> 'fresh_until_us')::bigint AND (h ->> 'written_us')::bigint <= now_us + 1000000, false);
    is_leader := fresh AND coalesce((h ->> 'is_leader')::boolean AND now_us < (h ->> 'lease_until_us')::bigint, false);
    leader_id := CASE WHEN fresh AND (is_leader OR h -> 'leader_id' <> h -> 'node_id') THEN coalesce((h ->> 'leader_id')::bigint, 0) ELSE 0 END;
    term := coalesce((h ->> 'term')::bigint, 0);
    worker_state := CASE WHEN fresh THEN coalesce(h ->> 'worker_state', 'STOPPED') ELSE 'STOPPED' END;
EXCEPTION WHEN OTHERS THEN
    fresh := false; is_leader := false; leader_id := 0; term := 0; worker_state := 'STOPPED';
END $$;
COMMENT ON FUNCTION pgraft.head() IS 'internal: the head of the status file, judged by the clock';

-- A node's own claim to be the primary holds until the time that stands beside it; independent servers need no such proof.
CREATE FUNCTION pgraft.own_role(status jsonb, fresh boolean) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT fresh OR status ->> 'role' = 'primary' AND (status ->> 'primary_until')::timestamptz <= clock_timestamp() THEN
        RETURN 'unknown';
    END IF;
    RETURN coalesce(nullif(status ->> 'role', ''), 'unknown');
END $$;
COMMENT ON FUNCTION pgraft.own_role(jsonb, boolean) IS 'internal: what this node''s PostgreSQL is, judged by the clock';

-- The whole file, its status being what the agent last said, with two verdicts of this moment beside it. Null when
-- there is no file or it is broken.
CREATE FUNCTION pgraft.status(OUT status jsonb, OUT fresh boolean, OUT is_leader boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    f jsonb;
    h jsonb;
    now_us bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    f := pg_read_file((pgraft.local_place()).run_dir || '/status.json', 0, 4194304, true);
    h := f -> 'head';
    status := f -> 'status';
    fresh := coalesce(now_us < (h ->> 'fresh_until_us')::bigint AND (h ->> 'written_us')::bigint <= now_us + 1000000, false);
    is_leader := fresh AND coalesce((h ->> 'is_leader')::boolean AND now_us < (h ->> 'lease_until_us')::bigint, false);
    IF jsonb_typeof(status) IS DISTINCT FROM 'object' THEN
        status := NULL; fresh := false; is_leader := false;
    END IF;
EXCEPTION WHEN OTHERS THEN
    status := NULL; fresh := false; is_leader := false;
END $$;
COMMENT ON FUNCTION pgraft.status() IS 'internal: the whole status file, with two verdicts of this moment';

------------------------------------------------------------------------------------------------------------------------
-- Monitoring functions
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.pgraft_is_leader() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$BEGIN RETURN (pgraft.head()).is_leader; END$$;
COMMENT ON FUNCTION @extschema@.pgraft_is_leader() IS 'is this node the leader, with a quorum''s confirmation that still holds';

CREATE FUNCTION @extschema@.pgraft_get_leader() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$BEGIN RETURN (pgraft.head()).leader_id; END$$;
COMMENT ON FUNCTION @extschema@.pgraft_get_leader() IS 'node_id of the leader as this node knows it, 0 = none';

CREATE FUNCTION @extschema@.pgraft_get_term() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$BEGIN RETURN (pgraft.head()).term; END$$;
COMMENT ON FUNCTION @extschema@.pgraft_get_term() IS 'latest Raft term that this node''s agent reported; it grows with each election';

CREATE FUNCTION @extschema@.pgraft_get_worker_state() RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$BEGIN RETURN (pgraft.head()).worker_state; END$$;
COMMENT ON FUNCTION @extschema@.pgraft_get_worker_state() IS 'state of the agent beside this server: RUNNING, STOPPED, ERROR, RECOVERING';

CREATE FUNCTION @extschema@.pgraft_get_version() RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$BEGIN RETURN coalesce(nullif((pgraft.status()).status ->> 'version', ''), pgraft.version()); END$$;
COMMENT ON FUNCTION @extschema@.pgraft_get_version() IS 'version of the agent, or of the extension where no agent ever reported';

CREATE FUNCTION @extschema@.pgraft_get_cluster_status(
    OUT node_id integer, OUT current_term bigint, OUT leader_id bigint, OUT state text, OUT num_nodes integer,
    OUT messages_processed bigint, OUT heartbeats_sent bigint, OUT elections_triggered bigint,
    OUT name text, OUT role text, OUT primary_id integer, OUT epoch bigint, OUT has_quorum boolean,
    OUT commit_index bigint, OUT applied_index bigint, OUT last_contact_ms bigint, OUT in_doubt_lsn pg_lsn, OUT as_of timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    s jsonb;
    fresh boolean;
    leads boolean;
BEGIN
    SELECT t.status, t.fresh, t.is_leader INTO s, fresh, leads FROM pgraft.status() AS t;
    node_id := coalesce((s ->> 'node_id')::integer, 0);
    current_term := coalesce((s ->> 'term')::bigint, 0);
    leader_id := CASE WHEN fresh AND (leads OR s -> 'leader_id' <> s -> 'node_id') THEN coalesce((s ->> 'leader_id')::bigint, 0) ELSE 0 END;
    state := CASE WHEN fresh AND (leads OR s ->> 'state' <> 'leader') THEN coalesce(s ->> 'state', 'unknown') ELSE 'unknown' END;
    num_nodes := CASE WHEN jsonb_typeof(s -> 'nodes') = 'array' THEN jsonb_array_length(s -> 'nodes') ELSE 0 END;
    messages_processed := coalesce((s #>> '{counters,messages_processed}')::bigint, 0);
    heartbeats_sent := coalesce((s #>> '{counters,heartbeats_sent}')::bigint, 0);
    elections_triggered := coalesce((s #>> '{counters,elections_triggered}')::bigint, 0);
    name := coalesce(s ->> 'name', '');
    role := pgraft.own_role(s, fresh);
    primary_id := CASE WHEN fresh AND (role = 'primary' OR s -> 'primary_id' <> s -> 'node_id') THEN coalesce((s ->> 'primary_id')::integer, 0) ELSE 0 END;
    epoch := coalesce((s ->> 'epoch')::bigint, 0);
    has_quorum := fresh AND (leads OR s ->> 'state' <> 'leader') AND coalesce((s ->> 'has_quorum')::boolean, false);
    commit_index := coalesce((s #>> '{log,commit_index}')::bigint, 0);
    applied_index := coalesce((s #>> '{log,last_applied}')::bigint, 0);
    last_contact_ms := CASE WHEN fresh THEN coalesce((s ->> 'last_contact_ms')::bigint, -1) ELSE -1 END;
    in_doubt_lsn := nullif(s ->> 'in_doubt_lsn', '')::pg_lsn;
    as_of := s ->> 'as_of';
EXCEPTION WHEN data_exception THEN
    node_id := 0; current_term := 0; leader_id := 0; state := 'unknown'; num_nodes := 0;
    messages_processed := 0; heartbeats_sent := 0; elections_triggered := 0;
    name := ''; role := 'unknown'; primary_id := 0; epoch := 0; has_quorum := false;
    commit_index := 0; applied_index := 0; last_contact_ms := -1; in_doubt_lsn := NULL; as_of := NULL;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_get_cluster_status() IS 'this node and the cluster as its agent sees it; always one row, as_of says when';

CREATE FUNCTION @extschema@.pgraft_get_nodes()
    RETURNS TABLE (node_id integer, address text, port integer, is_leader boolean, name text, role text, status text, voter boolean,
        postgres_address text, lag_bytes bigint, lag_ms bigint, applied_index bigint, version text, last_seen timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    s jsonb;
    is_fresh boolean;
    leads boolean;
BEGIN
    SELECT t.status, t.fresh, t.is_leader INTO s, is_fresh, leads FROM pgraft.status() AS t;
    IF jsonb_typeof(s -> 'nodes') IS DISTINCT FROM 'array' THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT n.node_id, n.address, n.port,
               is_fresh AND coalesce(n.is_leader, false) AND (leads OR n.node_id <> (s ->> 'node_id')::integer),
               n.name,
               CASE WHEN NOT is_fresh THEN 'unknown'
                    WHEN n.role = 'primary' AND n.node_id = (s ->> 'node_id')::integer THEN pgraft.own_role(s, is_fresh)
                    ELSE n.role END,
               CASE WHEN is_fresh THEN n.status ELSE 'unknown' END,
               n.voter, n.postgres_address,
               CASE WHEN is_fresh AND n.lag_bytes >= 0 THEN n.lag_bytes END,
               CASE WHEN is_fresh THEN n.lag_ms END,
               n.applied_index, n.version, n.last_seen
          FROM jsonb_to_recordset(s -> 'nodes') AS n(node_id integer, address text, port integer, is_leader boolean, name text,
               role text, status text, voter boolean, postgres_address text, lag_bytes bigint, lag_ms bigint, applied_index bigint,
               version text, last_seen timestamptz);
EXCEPTION WHEN data_exception THEN
    RETURN;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_get_nodes() IS 'a row per node; status and role are unknown when the agent''s report is too old';

CREATE FUNCTION @extschema@.pgraft_log_get_stats(
    OUT log_size bigint, OUT last_index bigint, OUT commit_index bigint, OUT last_applied bigint, OUT replicated bigint,
    OUT committed bigint, OUT applied bigint, OUT errors bigint, OUT snapshot_index bigint, OUT disk_bytes bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    l jsonb := (pgraft.status()).status -> 'log';
BEGIN
    log_size := coalesce((l ->> 'log_size')::bigint, 0);
    last_index := coalesce((l ->> 'last_index')::bigint, 0);
    commit_index := coalesce((l ->> 'commit_index')::bigint, 0);
    last_applied := coalesce((l ->> 'last_applied')::bigint, 0);
    replicated := coalesce((l ->> 'replicated')::bigint, 0);
    committed := coalesce((l ->> 'committed')::bigint, 0);
    applied := coalesce((l ->> 'applied')::bigint, 0);
    errors := coalesce((l ->> 'errors')::bigint, 0);
    snapshot_index := coalesce((l ->> 'snapshot_index')::bigint, 0);
    disk_bytes := coalesce((l ->> 'disk_bytes')::bigint, 0);
EXCEPTION WHEN data_exception THEN
    log_size := 0; last_index := 0; commit_index := 0; last_applied := 0; replicated := 0;
    committed := 0; applied := 0; errors := 0; snapshot_index := 0; disk_bytes := 0;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_log_get_stats() IS 'the replicated log on this node as its agent last reported it';

CREATE FUNCTION @extschema@.pgraft_log_get_replication_status()
    RETURNS TABLE (node_id integer, name text, match_index bigint, lag_entries bigint, lag_ms bigint, is_active boolean)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    s jsonb;
    is_fresh boolean;
BEGIN
    SELECT t.status, t.fresh INTO s, is_fresh FROM pgraft.status() AS t;
    IF jsonb_typeof(s -> 'peers') IS DISTINCT FROM 'array' THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT p.node_id, p.name, p.match_index,
               CASE WHEN is_fresh THEN p.lag_entries END,
               CASE WHEN is_fresh THEN p.lag_ms END,
               is_fresh AND coalesce(p.is_active, false)
          FROM jsonb_to_recordset(s -> 'peers')
               AS p(node_id integer, name text, match_index bigint, lag_entries bigint, lag_ms bigint, is_active boolean);
EXCEPTION WHEN data_exception THEN
    RETURN;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_log_get_replication_status() IS 'how far each other node''s log reaches, a row per peer';

CREATE FUNCTION @extschema@.pgraft_events(since bigint DEFAULT 0)
    RETURNS TABLE (index bigint, "time" timestamptz, type text, node text, message text, data jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT e.index, e."time", e.type, e.node, e.message, e.data FROM pgraft.event AS e WHERE e.index > since ORDER BY e.index
$$;
COMMENT ON FUNCTION @extschema@.pgraft_events(bigint) IS 'the cluster''s history after the given event, the oldest first, as far as this database''s rows have it';

CREATE FUNCTION @extschema@.pgraft_get_applied_index() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$BEGIN RETURN coalesce((SELECT m.applied_index FROM pgraft.meta AS m), 0); END$$;
COMMENT ON FUNCTION @extschema@.pgraft_get_applied_index() IS 'log index that the rows of schema pgraft in this database are current to';

CREATE FUNCTION @extschema@.pgraft_get_last_index() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN coalesce(nullif(current_setting('pgraft.last_index', true), '')::bigint, 0);
EXCEPTION WHEN data_exception THEN
    RETURN 0;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_get_last_index() IS 'log index of the latest change that this session made, 0 = none; for pgraft_wait_for_index';

CREATE FUNCTION @extschema@.pgraft_wait_for_index(index bigint, timeout interval DEFAULT '10 seconds') RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + timeout;
    pause double precision := 0.001;
    replayed pg_lsn;
    moved timestamptz := clock_timestamp();
BEGIN
    IF index IS NULL OR timeout IS NULL THEN
        RAISE EXCEPTION 'index and timeout must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    LOOP
        IF EXISTS (SELECT FROM pgraft.meta AS m WHERE m.applied_index >= index) THEN
            RETURN true;
        END IF;
        IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
            RAISE EXCEPTION 'cannot wait for an index in a transaction with a fixed snapshot'
                USING ERRCODE = 'invalid_transaction_state',
                      HINT = 'Wait before the transaction begins, or use READ COMMITTED.';
        END IF;
        IF clock_timestamp() >= deadline THEN
            RETURN false;
        END IF;
        -- What a statement on a standby may still see holds up the replay of WAL that removes it: this one may wait for itself.
        IF pg_last_wal_replay_lsn() IS DISTINCT FROM replayed THEN
            replayed := pg_last_wal_replay_lsn(); moved := clock_timestamp();
        ELSIF pg_is_in_recovery() AND NOT pg_is_wal_replay_paused() AND pg_last_wal_receive_lsn() > replayed AND clock_timestamp() - moved > '200 milliseconds' THEN
            RAISE EXCEPTION 'replay on this standby waits for statements that run here, and this is one of them'
                USING ERRCODE = 'serialization_failure', HINT = 'Call the function again.';
        END IF;
        PERFORM pg_sleep(pause);
        pause := least(pause * 1.5, 0.02);
    END LOOP;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_wait_for_index(bigint, interval) IS 'true once the rows of schema pgraft are current to the log index, false when the time is over; the rows are seen by the next statement';

CREATE FUNCTION @extschema@.pgraft_kv_get_stats(OUT keys bigint, OUT bytes bigint, OUT last_modify_index bigint, OUT applied_index bigint)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT count(*),
           coalesce(sum(octet_length(k.key) + coalesce(octet_length(k.value), octet_length(k.value_bytes))), 0)::bigint,
           coalesce(max(k.modify_index), 0),
           coalesce((SELECT m.applied_index FROM pgraft.meta AS m), 0)
      FROM pgraft.kv AS k
$$;
COMMENT ON FUNCTION @extschema@.pgraft_kv_get_stats() IS 'size of the key/value store in this database';

CREATE FUNCTION @extschema@.pgraft_check() RETURNS TABLE (check_name text, status text, message text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    s jsonb;
    fresh boolean;
    leads boolean;
    voters bigint;
    alive bigint;
    failed text;
    lag bigint;
    trouble text;
    managed boolean;
    own_role text;
    epoch text;
BEGIN
    SELECT t.status, t.fresh, t.is_leader INTO s, fresh, leads FROM pgraft.status() AS t;

    check_name := 'agent';
    IF s IS NULL THEN
        status := 'CRITICAL'; message := 'no agent has reported here: start pgraft agent on this host, or run pgraft setup if it runs';
    ELSIF NOT fresh THEN
        status := 'CRITICAL'; message := format('the agent has not reported since %s: it is stopped or hangs', s ->> 'as_of');
    ELSE
        trouble := coalesce(nullif(s ->> 'worker_message', ''), 'no reason given');
        CASE s ->> 'worker_state'
            WHEN 'RUNNING' THEN status := 'OK'; message := format('agent %s is running', s ->> 'version');
            WHEN 'RECOVERING' THEN status := 'WARNING'; message := 'the agent is catching up: ' || trouble;
            WHEN 'ERROR' THEN status := 'CRITICAL'; message := trouble;
            ELSE status := 'CRITICAL'; message := 'the agent is stopped';
        END CASE;
    END IF;
    RETURN NEXT;

    IF s IS NULL OR NOT fresh THEN
        message := 'the agent does not report';
        status := 'UNKNOWN';
        FOREACH check_name IN ARRAY ARRAY['leader', 'quorum', 'members', 'postgres', 'primary', 'in_doubt'] LOOP
            RETURN NEXT;
        END LOOP;
        RETURN;
    END IF;

    check_name := 'leader';
    IF leads THEN
        status := 'OK'; message := 'this node is the leader';
    ELSIF coalesce((s ->> 'leader_id')::integer, 0) <> 0 AND s -> 'leader_id' <> s -> 'node_id' THEN
        status := 'OK'; message := format('node %s (%s) is the leader', s ->> 'leader_id', coalesce(s ->> 'leader_name', ''));
    ELSE
        status := 'CRITICAL'; message := 'no leader is known: an election takes a few seconds, else check that a majority of the nodes is up and reachable';
    END IF;
    RETURN NEXT;

    check_name := 'quorum';
    IF coalesce((s ->> 'has_quorum')::boolean, false) AND (leads OR s ->> 'state' <> 'leader') THEN
        status := 'OK'; message := 'a majority of the voters confirms the leader';
    ELSE
        status := 'CRITICAL'; message := 'this node hears from no majority: changes fail until one is back';
    END IF;
    RETURN NEXT;

    check_name := 'members';
    SELECT count(*) FILTER (WHERE n.voter), count(*) FILTER (WHERE n.voter AND n.status = 'alive'),
           string_agg(n.name, ', ' ORDER BY n.node_id) FILTER (WHERE n.status <> 'alive')
      INTO voters, alive, failed
      FROM jsonb_to_recordset(s -> 'nodes') AS n(node_id integer, name text, status text, voter boolean);
    message := format('%s of %s voters alive', alive, voters) || coalesce('; not alive: ' || failed, '');
    status := CASE WHEN alive <= voters / 2 THEN 'CRITICAL' WHEN failed IS NOT NULL THEN 'WARNING' ELSE 'OK' END;
    RETURN NEXT;

    check_name := 'postgres';
    lag := coalesce((s #>> '{postgres,lag_ms}')::bigint, 0);
    trouble := nullif(s #>> '{postgres,error}', '');
    IF NOT coalesce((s #>> '{postgres,enabled}')::boolean, false) THEN
        status := 'OK'; message := 'the agent has no PostgreSQL to keep current';
    ELSIF trouble IS NOT NULL THEN
        status := 'CRITICAL'; message := 'rows are not written: ' || trouble;
    ELSE
        status := CASE WHEN lag > 60000 THEN 'CRITICAL' WHEN lag > 5000 THEN 'WARNING' ELSE 'OK' END;
        message := format('rows are %s entries and %s ms behind the log', coalesce(s #>> '{postgres,lag_entries}', '0'), greatest(lag, 0));
    END IF;
    RETURN NEXT;

    managed := coalesce((s ->> 'epoch')::bigint, 0) > 0 OR coalesce(s #>> '{postgres,mode}', '') = 'managed';
    own_role := pgraft.own_role(s, fresh);
    epoch := coalesce(s ->> 'epoch', '0');
    check_name := 'primary';
    IF NOT managed THEN
        status := 'OK'; message := 'the PostgreSQL servers are independent';
    ELSIF own_role = 'primary' AND coalesce((s #>> '{postgres,read_only}')::boolean, false) THEN
        status := 'CRITICAL'; message := format('this node is the primary of epoch %s and takes no writes now', epoch);
    ELSIF own_role = 'primary' AND coalesce((s #>> '{postgres,sync_acks}')::integer, 0) < coalesce((s #>> '{sync,acks}')::integer, 0) THEN
        status := 'CRITICAL'; message := format('commits wait: %s of %s needed members acknowledge them', coalesce(s #>> '{postgres,sync_acks}', '0'), s #>> '{sync,acks}');
    ELSIF own_role = 'primary' THEN
        status := 'OK'; message := format('this node is the primary, epoch %s', epoch);
    ELSIF coalesce((s ->> 'primary_id')::integer, 0) <> 0 AND s -> 'primary_id' <> s -> 'node_id' THEN
        status := 'OK'; message := format('node %s (%s) is the primary, epoch %s', s ->> 'primary_id', coalesce(s ->> 'primary_name', ''), epoch);
    ELSE
        status := 'CRITICAL';
        message := format('no primary is known in epoch %s (%s): a failover takes about a second, else see pgraft status', epoch, coalesce(nullif(s ->> 'phase', ''), 'no data yet'));
    END IF;
    IF status = 'OK' AND coalesce((s ->> 'paused')::boolean, false) THEN
        status := 'WARNING'; message := message || '; automatic failover is paused';
    END IF;
    RETURN NEXT;

    check_name := 'in_doubt';
    IF coalesce(s ->> 'in_doubt_lsn', '') = '' THEN
        status := 'OK'; message := 'nothing here waits to be acknowledged';
    ELSE
        status := 'CRITICAL';
        message := format('the last %s bytes of WAL, up to %s, may never have been acknowledged: do not rely on rows read here', coalesce(s #>> '{postgres,in_doubt_bytes}', '?'), s ->> 'in_doubt_lsn');
    END IF;
    RETURN NEXT;

    -- What the agent found itself. An agent that knows no checks yet has none.
    RETURN QUERY
        SELECT k.check_name, CASE WHEN k.status IN ('OK', 'WARNING', 'CRITICAL') THEN k.status ELSE 'UNKNOWN' END,
               coalesce(k.message, '') || coalesce('. ' || nullif(k.next, ''), '')
          FROM jsonb_to_recordset(CASE jsonb_typeof(s -> 'checks') WHEN 'array' THEN s -> 'checks' ELSE '[]' END)
               AS k(check_name text, status text, message text, next text);
EXCEPTION WHEN data_exception THEN
    check_name := 'agent'; status := 'UNKNOWN'; message := 'the agent''s status file can''t be understood: agent and extension may be of different versions';
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_check() IS 'named checks for a monitoring system: OK, WARNING, CRITICAL or UNKNOWN with a message';

CREATE FUNCTION @extschema@.pgraft_health_check() RETURNS json
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT json_build_object(
               'status', c.worst, 'node_id', s.node_id, 'name', s.name, 'role', s.role, 'state', s.state,
               'worker_state', h.worker_state, 'is_leader', h.is_leader, 'leader_id', h.leader_id, 'term', h.term,
               'has_quorum', s.has_quorum, 'as_of', s.as_of, 'checks', c.checks)
      FROM pgraft.head() AS h,
           @extschema@.pgraft_get_cluster_status() AS s,
           (SELECT CASE WHEN bool_or(k.status = 'CRITICAL') THEN 'CRITICAL' WHEN bool_or(k.status = 'WARNING') THEN 'WARNING'
                        WHEN bool_or(k.status = 'UNKNOWN') THEN 'UNKNOWN' ELSE 'OK' END AS worst,
                   json_agg(k) AS checks
              FROM @extschema@.pgraft_check() AS k) AS c
$$;
COMMENT ON FUNCTION @extschema@.pgraft_health_check() IS 'pgraft_check() and the main facts of this node as one JSON object';

CREATE VIEW pgraft.members AS
    SELECT coalesce(n.node_id, r.node_id) AS node_id, coalesce(n.name, r.name) AS name, coalesce(n.role, 'unknown') AS role,
           coalesce(n.status, 'unknown') AS status, coalesce(n.is_leader, false) AS is_leader, n.voter,
           r.raft_address, r.gossip_address, r.http_address, coalesce(n.postgres_address, r.postgres_address) AS postgres_address,
           r.zone, r.witness, r.non_voting, coalesce(n.version, r.version) AS version, n.applied_index, n.lag_bytes, n.lag_ms, n.last_seen
      FROM pgraft.node AS r
      FULL JOIN @extschema@.pgraft_get_nodes() AS n ON n.node_id = r.node_id;
COMMENT ON VIEW pgraft.members IS 'the registered nodes with what this node''s agent last saw of them';

CREATE VIEW pgraft.health AS
    SELECT c.check_name, c.status, c.message FROM @extschema@.pgraft_check() AS c;
COMMENT ON VIEW pgraft.health IS 'pgraft_check() as a view';

------------------------------------------------------------------------------------------------------------------------
-- Commands: one statement of the agent's console each, over dblink to its Unix socket. dblink's own blocking call obeys
-- neither a cancel nor statement_timeout, so the statement is sent and its answer polled for, against a deadline. The
-- connection is closed on every way out: a user of the session could otherwise speak to the agent through it.
------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pgraft.dblink_schema() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    schema_name text;
BEGIN
    SELECT quote_ident(n.nspname) INTO schema_name
      FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'dblink';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'extension dblink is not installed' USING ERRCODE = 'undefined_object', HINT = 'Run CREATE EXTENSION dblink;';
    END IF;
    RETURN schema_name;
END $$;
COMMENT ON FUNCTION pgraft.dblink_schema() IS 'internal: where dblink is installed';

-- patience is how long to wait for an answer. A session may set it; by default it is longer than the agent's own.
CREATE FUNCTION pgraft.patience() RETURNS interval
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN coalesce(nullif(current_setting('pgraft.command_timeout', true), ''), '15s')::interval;
EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION 'setting pgraft.command_timeout is no interval'
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Set it to a value like ''15s''.';
END $$;
COMMENT ON FUNCTION pgraft.patience() IS 'internal: how long to wait for the agent''s answer, from setting pgraft.command_timeout';

-- text_or_error passes what means the same in this database's encoding and in the agent's, which is UTF-8: dblink
-- converts nothing where the other end speaks one encoding only.
CREATE FUNCTION pgraft.text_or_error(value text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF getdatabaseencoding() NOT IN ('UTF8', 'SQL_ASCII') AND value ~ '[^\x01-\x7f]' THEN
        RAISE EXCEPTION 'the agent''s texts are UTF-8 and this database''s are %', getdatabaseencoding()
            USING ERRCODE = 'character_not_in_repertoire',
                  HINT = 'Only ASCII goes between them: use a database with encoding UTF8 or the HTTP API.';
    END IF;
    RETURN value;
END $$;
COMMENT ON FUNCTION pgraft.text_or_error(text) IS 'internal: refuses what this database''s encoding can''t carry';

-- command returns the answer's rows, the given number of columns each. Its failure is the agent's failure, field by field.
CREATE FUNCTION pgraft.command(statement text, columns integer, changes boolean) RETURNS SETOF text[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    place record;
    dblink text := pgraft.dblink_schema();
    patience interval := pgraft.patience();
    started timestamptz := clock_timestamp();
    busy integer;
    names text;
    types text;
    det text;
    answered bigint;
BEGIN
    SELECT * INTO place FROM pgraft.local_place();
    IF place.run_dir IS NULL THEN
        RAISE EXCEPTION 'the agent''s console is not known to this database'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Start pgraft agent on this host, or run pgraft setup.';
    END IF;
    BEGIN
        EXECUTE format('SELECT %s.dblink_disconnect(c) FROM unnest(%s.dblink_get_connections()) AS c WHERE c = $1', dblink, dblink) USING 'pgraft'::text;
        BEGIN
            EXECUTE format('SELECT %s.dblink_connect_u($1, $2)', dblink) USING 'pgraft'::text,
                format('host=%s port=%s user=pgraft dbname=pgraft connect_timeout=3 sslmode=disable application_name=pgraft',
                       '''' || replace(replace(place.run_dir, E'\\', E'\\\\'), '''', E'\\''') || '''', place.console_port);
        EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
            GET STACKED DIAGNOSTICS det = PG_EXCEPTION_DETAIL;
            RAISE EXCEPTION 'agent not reachable'
                USING ERRCODE = 'connection_failure', DETAIL = det,
                      HINT = 'The change was not made. Check that pgraft agent runs on this host and may be reached at ' || place.run_dir || '.';
        END;
        EXECUTE format('SELECT %s.dblink_send_query($1, $2)', dblink) USING 'pgraft'::text, pgraft.text_or_error(statement);
        LOOP
            EXECUTE format('SELECT %s.dblink_is_busy($1)', dblink) INTO busy USING 'pgraft'::text;
            EXIT WHEN busy = 0;
            IF clock_timestamp() - started > patience THEN
                IF changes THEN
                    RAISE EXCEPTION 'no answer from the agent within %', patience
                        USING ERRCODE = 'statement_completion_unknown',
                              HINT = 'The change may have been made or not: look before you repeat it. The agent may hang: check its host and log.';
                END IF;
                RAISE EXCEPTION 'no answer from the agent within %', patience
                    USING ERRCODE = 'connection_failure', HINT = 'The agent may hang: check its host and log.';
            END IF;
            IF clock_timestamp() - started > '500 microseconds' THEN
                PERFORM pg_sleep(0.001);
            END IF;
        END LOOP;
        SELECT string_agg('pgraft.text_or_error(c' || i || ')', ', '), string_agg('c' || i || ' text', ', ') INTO names, types FROM generate_series(1, columns) AS i;
        BEGIN
            RETURN QUERY EXECUTE format('SELECT ARRAY[%s] FROM %s.dblink_get_result($1) AS r(%s)', names, dblink, types) USING 'pgraft'::text;
            GET DIAGNOSTICS answered = ROW_COUNT;
            -- An agent that ends while it is waited for gives no error here but no rows. A change is answered by a row.
            IF answered = 0 THEN
                EXECUTE format('SELECT %s.dblink_error_message($1)', dblink) INTO det USING 'pgraft'::text;
                IF changes OR det <> 'OK' THEN
                    RAISE connection_failure;
                END IF;
            END IF;
        EXCEPTION WHEN connection_failure THEN -- libpq's own word: the agent uses no code of this class
            RAISE EXCEPTION 'the agent ended before it answered'
                USING ERRCODE = CASE WHEN changes THEN 'statement_completion_unknown' ELSE 'connection_failure' END,
                      HINT = CASE WHEN changes THEN 'The change may have been made or not: look before you repeat it.'
                                  ELSE 'Try again when the agent is back.' END;
        END;
    EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
        -- Not by a variable: a cancel may come right after the connection was made.
        EXECUTE format('SELECT %s.dblink_disconnect(c) FROM unnest(%s.dblink_get_connections()) AS c WHERE c = $1', dblink, dblink) USING 'pgraft'::text;
        RAISE;
    END;
    EXECUTE format('SELECT %s.dblink_disconnect($1)', dblink) USING 'pgraft'::text;
END $$;
COMMENT ON FUNCTION pgraft.command(text, integer, boolean) IS 'internal: run one statement of the agent''s console';

-- change runs a statement that answers with the index of its log entry and one more number, which it returns.
CREATE FUNCTION pgraft.change(statement text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    answer text[];
BEGIN
    SELECT c INTO answer FROM pgraft.command(statement, 2, true) AS c;
    PERFORM set_config('pgraft.last_index', answer[1], false);
    RETURN answer[2];
END $$;
COMMENT ON FUNCTION pgraft.change(text) IS 'internal: run a statement that changes something';

CREATE FUNCTION pgraft.require(value anyelement, what text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF value IS NULL THEN
        RAISE EXCEPTION '% must not be null', what USING ERRCODE = 'null_value_not_allowed';
    END IF;
END $$;
COMMENT ON FUNCTION pgraft.require(anyelement, text) IS 'internal: refuses null';

-- An agent refuses such a value too; it need not travel there, quoted to twice its length, to be refused.
CREATE FUNCTION pgraft.require_value(value text, what text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(value, what);
    IF octet_length(value) > 524288 THEN
        RAISE EXCEPTION '% of % bytes is too long', what, octet_length(value)
            USING ERRCODE = 'program_limit_exceeded', HINT = 'It may have 524288 bytes.';
    END IF;
END $$;
COMMENT ON FUNCTION pgraft.require_value(text, text) IS 'internal: refuses null and what is too long';

CREATE FUNCTION @extschema@.pgraft_kv_put(key text, value text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(key, 'key'), pgraft.require_value(value, 'value');
    PERFORM pgraft.change(format('KV PUT %L %L', key, value));
    RETURN true;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_kv_put(text, text) IS 'set a key; true once a majority of the voters has it';

CREATE FUNCTION @extschema@.pgraft_kv_get(key text) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(key, 'key');
    RETURN (SELECT c[1] FROM pgraft.command(format('KV GET %L', key), 1, false) AS c);
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_kv_get(text) IS 'the key''s value as the cluster has it now, null if there is none';

CREATE FUNCTION @extschema@.pgraft_kv_delete(key text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(key, 'key');
    RETURN pgraft.change(format('KV DELETE %L', key)) > 0;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_kv_delete(text) IS 'remove a key; true if there was one';

CREATE FUNCTION @extschema@.pgraft_kv_exists(key text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(key, 'key');
    RETURN (SELECT c[1]::boolean FROM pgraft.command(format('KV EXISTS %L', key), 1, false) AS c);
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_kv_exists(text) IS 'does the cluster have the key now';

CREATE FUNCTION @extschema@.pgraft_kv_list_keys(prefix text DEFAULT '') RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN QUERY SELECT c[1] FROM pgraft.command(format('KV LIST %L', coalesce(prefix, '')), 1, false) AS c;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_kv_list_keys(text) IS 'the keys that start with the prefix, in byte order';

CREATE FUNCTION @extschema@.pgraft_kv_cas(key text, version bigint, value text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(key, 'key'), pgraft.require(version, 'version'), pgraft.require_value(value, 'value');
    PERFORM pgraft.change(format('KV CAS %L %L %L', key, version, value));
    RETURN true;
EXCEPTION WHEN serialization_failure THEN
    RETURN false;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_kv_cas(text, bigint, text) IS 'set a key if its version is the given one, 0 = if it does not exist; false if it is not';

CREATE FUNCTION @extschema@.pgraft_add_node(node_id integer, address text, port integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(node_id, 'node_id'), pgraft.require(address, 'address'), pgraft.require(port, 'port');
    PERFORM pgraft.command(format('ADD NODE %L %L %L', node_id, address, port), 1, true);
    RETURN true;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_add_node(integer, text, integer) IS 'let the agent at address and port into the cluster as node_id; on the leader only';

CREATE FUNCTION @extschema@.pgraft_remove_node(node_id integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(node_id, 'node_id');
    PERFORM pgraft.command(format('REMOVE NODE %L', node_id), 1, true);
    RETURN true;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_remove_node(integer) IS 'take a node out of the cluster for good; on the leader only';

CREATE FUNCTION @extschema@.pgraft_transfer_leadership(node_id integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(node_id, 'node_id');
    PERFORM pgraft.command(format('TRANSFER LEADERSHIP %L', node_id), 1, true);
    RETURN true;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_transfer_leadership(integer) IS 'make a voter the Raft leader; on the leader only';

CREATE FUNCTION @extschema@.pgraft_switchover(node_id integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(node_id, 'node_id');
    PERFORM pgraft.command(format('SWITCHOVER %L', node_id), 1, true);
    RETURN true;
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_switchover(integer) IS 'make a standby the primary, losing nothing; sessions of the primary end, this one too if it is there';

CREATE FUNCTION @extschema@.pgraft_replicate_entry(data text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require_value(data, 'data');
    PERFORM pgraft.change(format('REPLICATE ENTRY %L', data));
    RETURN @extschema@.pgraft_get_last_index();
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_replicate_entry(text) IS 'send data through the log, changing nothing; its index once a majority of the voters has it';

CREATE FUNCTION @extschema@.pgraft_snapshot() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$BEGIN RETURN (SELECT c[1]::bigint FROM pgraft.command('SNAPSHOT', 1, true) AS c); END$$;
COMMENT ON FUNCTION @extschema@.pgraft_snapshot() IS 'take a Raft snapshot on this node; the log index it reaches to';

CREATE FUNCTION @extschema@.pgraft_set_debug(enabled boolean) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pgraft.require(enabled, 'enabled');
    RETURN (SELECT c[1]::boolean FROM pgraft.command(CASE WHEN enabled THEN 'SET DEBUG ON' ELSE 'SET DEBUG OFF' END, 1, true) AS c);
END $$;
COMMENT ON FUNCTION @extschema@.pgraft_set_debug(boolean) IS 'switch the debug log of this node''s agent; what it is now';

------------------------------------------------------------------------------------------------------------------------
-- Rights
------------------------------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgraft FROM PUBLIC;
GRANT USAGE ON SCHEMA pgraft TO pg_monitor, pgraft_admin;
GRANT EXECUTE ON FUNCTION pgraft.version() TO pg_monitor, pgraft_admin;
GRANT SELECT ON pgraft.meta, pgraft.kv, pgraft.node, pgraft.setting, pgraft.event, pgraft.local, pgraft.members, pgraft.health
    TO pg_monitor, pgraft_admin;

REVOKE ALL ON FUNCTION
    @extschema@.pgraft_is_leader(), @extschema@.pgraft_get_leader(), @extschema@.pgraft_get_term(),
    @extschema@.pgraft_get_worker_state(), @extschema@.pgraft_get_version(), @extschema@.pgraft_health_check(),
    @extschema@.pgraft_get_cluster_status(), @extschema@.pgraft_get_nodes(), @extschema@.pgraft_log_get_stats(),
    @extschema@.pgraft_log_get_replication_status(), @extschema@.pgraft_get_applied_index(), @extschema@.pgraft_get_last_index(),
    @extschema@.pgraft_wait_for_index(bigint, interval), @extschema@.pgraft_events(bigint), @extschema@.pgraft_check(), @extschema@.pgraft_kv_get_stats(),
    @extschema@.pgraft_kv_get(text), @extschema@.pgraft_kv_exists(text), @extschema@.pgraft_kv_list_keys(text),
    @extschema@.pgraft_kv_put(text, text), @extschema@.pgraft_kv_delete(text), @extschema@.pgraft_kv_cas(text, bigint, text),
    @extschema@.pgraft_add_node(integer, text, integer), @extschema@.pgraft_remove_node(integer),
    @extschema@.pgraft_transfer_leadership(integer), @extschema@.pgraft_switchover(integer), @extschema@.pgraft_replicate_entry(text),
    @extschema@.pgraft_snapshot(), @extschema@.pgraft_set_debug(boolean)
    FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
    @extschema@.pgraft_is_leader(), @extschema@.pgraft_get_leader(), @extschema@.pgraft_get_term(),
    @extschema@.pgraft_get_worker_state(), @extschema@.pgraft_get_version(), @extschema@.pgraft_health_check(),
    @extschema@.pgraft_get_cluster_status(), @extschema@.pgraft_get_nodes(), @extschema@.pgraft_log_get_stats(),
    @extschema@.pgraft_log_get_replication_status(), @extschema@.pgraft_get_applied_index(), @extschema@.pgraft_get_last_index(),
    @extschema@.pgraft_wait_for_index(bigint, interval), @extschema@.pgraft_events(bigint), @extschema@.pgraft_check(), @extschema@.pgraft_kv_get_stats(),
    @extschema@.pgraft_kv_get(text), @extschema@.pgraft_kv_exists(text), @extschema@.pgraft_kv_list_keys(text)
    TO pg_monitor, pgraft_admin;

GRANT EXECUTE ON FUNCTION
    @extschema@.pgraft_kv_put(text, text), @extschema@.pgraft_kv_delete(text), @extschema@.pgraft_kv_cas(text, bigint, text),
    @extschema@.pgraft_add_node(integer, text, integer), @extschema@.pgraft_remove_node(integer),
    @extschema@.pgraft_transfer_leadership(integer), @extschema@.pgraft_switchover(integer), @extschema@.pgraft_replicate_entry(text),
    @extschema@.pgraft_snapshot(), @extschema@.pgraft_set_debug(boolean)
    TO pgraft_admin;
