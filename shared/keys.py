"""Every Redis key, in one place.

| key | type | writer | reader | life |
|---|---|---|---|---|
| `headrace:inbox` | stream `k`, `e`; group `dispatch` | admit | dispatch | until placed |
| `headrace:session:<sid>` | hash: fence, call, epoch, connection, admitted, … and what the session reports | ingest | ingest, status | the session's; fence, epoch and admitted stay |
| `headrace:session:<sid>:inflight` | hash packet id → digests and connections | admit | session_open | PUBLISH … PUBREL |
| `headrace:lease:<sid>` | string `<token> <holder>`, expiring | lease_* | ingest, status | lease time |
| `headrace:sessions` | set of session ids | lease_acquire, session_epoch | status, sessions | until session_end |
| `headrace:left` | hash session id → record of a session that its trigger left behind, and what is to be done with it | push, session_epoch, left_change | ingest, sessions | until session_end, or taken up again |
| `headrace:counters:<trigger>` | hash of the identities' cells | admit, place, start, finish, sweep | status | for ever |
| `headrace:counters` | set of triggers that have counters | admit | status | for ever |
| `headrace:published:<trigger>:<digest>` | string, expiring: a publisher's own id was seen | place | place | 24 h |
| `headrace:dead` | zset dead letter id → epoch ms | admit, place, finish, sweep | dead | `dead_max`, `dead_max_age_s` |
| `headrace:dead:untold` | list of ids of dead letters that are to be told of by MQTT, where their trigger asks for it | admit, place, finish, sweep | ingest | 10,000 |
| `headrace:dead:letters` | hash dead letter id → record (messages that never became a run) | admit, place | dead | as above |
| `headrace:dead:triggers` | hash dead letter id → trigger (messages that never became a run) | admit, place | dead | as above |
| `headrace:dead:made` | hash trigger → how many dead letters it has ever had, but for runs of alerts | admit, place, finish, sweep | alerts | for ever |
| `headrace:handlers` | list of ids of runs that ended badly and wait for their error handler | finish, sweep | worker | until it is called |
| `headrace:outbox:<broker>` | stream `m`: messages that runs publish | finish | ingest | until the broker has acknowledged them |
| `headrace:outboxes` | set of brokers that have or had an outbox | finish | ingest, status | for ever |
| `headrace:outboxes:reports` | hash broker → JSON: what its sender says of itself | ingest | status | for ever |
| `headrace:brokers:reports` | hash broker → JSON: what it tells of its queues | ingest | status | for ever |
| `headrace:role:<name>` | string, expiring: the process that has this task | role_hold | ingest, alerts_record | while it is held |
| `headrace:deployment` | hash: id, number | push | all | for ever |
| `headrace:deployed` | hash `<kind>:<path>` → version | push | all | for ever |
| `headrace:deployed:newest` | hash `<kind>:<path>` → JSON: the deployment that changed it last, who, when and why | push | console | as long as it is deployed |
| `headrace:deployed:oldest` | the same of the deployment that it came with | push | console | as long as it is deployed |
| `headrace:definitions` | hash version → JSON | push | all | for ever (immutable) |
| `headrace:deployments` | list of deployment records, newest first | push | history | `deployments_max` |
| `headrace:state` | hash path → JSON: resources that scripts write (`set_state`) | console | console, worker | until deleted |
| `headrace:tokens` | hash token id → JSON: name, scope, digest, expiry | token, console | console | until revoked |
| `headrace:tokens:used` | hash token id → epoch ms | console | token | as the token |
| `headrace:browser:<digest>` | string, expiring: a browser that is logged in | console | console | `console.session_s` |
| `headrace:link:<digest>` | string, expiring: a link that logs a browser in, once | login, console | console | 10 min; the first 24 h |
| `headrace:tries:<address>` | string, expiring: logins that failed | console | console | 1 min |
| `headrace:capture:…` | strings and lists, expiring: messages that were captured for a script or flow, what is captured, who looks | console | console | one day |
| `headrace:capture_number` | string: the number of the newest captured message | console | console | for ever |
| `headrace:going` | set, expiring: files that `wmill sync` has deleted and that something deployed still needs | console | console | 1 h |
| `headrace:lock_answer:<id>` | string, expiring: the packages of a script that `wmill` has asked for | console | console | 10 min |
| `headrace:asks` | stream of what the console asks of ingest; group `ingest` | console | ingest | about 1000 entries |
| `headrace:ask:<id>` | stream of answers, expiring | ingest | console | 1 min after the last |
| `headrace:ask:<id>:wanted` | string, expiring: somebody waits for the answers | console | ingest | 15 s |
| `headrace:samples` | stream of the totals, each five seconds | console | console | one day |
| `headrace:sampler` | string, expiring: the process that takes the samples | console | console | 15 s |
| `headrace:audit` | stream of changes: who, what, before, after | console, token | audit | `audit_max` |
| `headrace:runs` | zset run id → queued at (epoch µs) | place, create_runs | runs | retention |
| `headrace:runs:<trigger>` | the same per trigger | place, create_runs | runs | retention |
| `headrace:suspended:<trigger>` | zset run id → placed at (epoch µs): runs that wait to be resumed | place | resume, discard, trigger | until resumed, discarded or cancelled |
| `headrace:children:<run>` | zset run id → queued at (epoch µs): what the run has started, and what that has started | create_runs | console | as the run |
| `headrace:flow:<run>` | hash: what the steps of a flow have come to, by their keys (`shared/flow_records.py`) | flow_checkpoint, flow_park, flow_fan, the end of a part | worker, runs show | as the run |
| `headrace:log:<run>` | hash: execution, and the text that it has printed so far | worker | runs logs | 1 h, or as the run |
| `headrace:alerts` | hash of what is wrong, or was told of lately → record | alerts_record | alerts | until it is over |
| `headrace:alerts:notices` | hash id → what people are told, and who has not got it yet | alerts_record, alerts_told | alerts | the newest 200 |
| `headrace:workers` | set of worker names | worker_beat | sweep, status | until swept |
| `headrace:worker:<name>` | string, expiring: alive | worker_beat | sweep | lease time |
| `headrace:worker:<name>:claims` | hash run id → `<execution id> claimed` or `… started` | claim, start | finish, sweep | until finished |
| `rq:…` | RQ's own data model (job hash, queue, registries, results) | place, claim, start, finish, sweep | RQ's tools | retention |
"""

from __future__ import annotations

PREFIX = "headrace:"
GROUP = "dispatch"
QUEUE = "headrace"

INBOX = PREFIX + "inbox"
SESSIONS = PREFIX + "sessions"
LEFT = PREFIX + "left"
COUNTERS = PREFIX + "counters"
DEAD = PREFIX + "dead"
DEAD_LETTERS = PREFIX + "dead:letters"
DEAD_TRIGGERS = PREFIX + "dead:triggers"
DEAD_MADE = PREFIX + "dead:made"
ALERTS = PREFIX + "alerts"
ALERTS_NOTICES = PREFIX + "alerts:notices"
DEAD_UNTOLD = PREFIX + "dead:untold"
HANDLERS = PREFIX + "handlers"
DEPLOYMENT = PREFIX + "deployment"
DEPLOYED = PREFIX + "deployed"
DEPLOYED_NEWEST = PREFIX + "deployed:newest"
DEPLOYED_OLDEST = PREFIX + "deployed:oldest"
DEFINITIONS = PREFIX + "definitions"
DEPLOYMENTS = PREFIX + "deployments"
OUTBOXES = PREFIX + "outboxes"
BROKER_REPORTS = PREFIX + "brokers:reports"
OUTBOX_REPORTS = PREFIX + "outboxes:reports"
RUNS = PREFIX + "runs"
STATE = PREFIX + "state"
TOKENS = PREFIX + "tokens"
TOKENS_USED = PREFIX + "tokens:used"
AUDIT = PREFIX + "audit"
CAPTURE_NUMBER = PREFIX + "capture_number"
GOING = PREFIX + "going"
ASKS = PREFIX + "asks"
SAMPLES = PREFIX + "samples"
SAMPLER = PREFIX + "sampler"
WORKERS = PREFIX + "workers"

RQ_QUEUES = "rq:queues"
RQ_QUEUE = "rq:queue:" + QUEUE
RQ_STARTED = "rq:wip:" + QUEUE
RQ_FINISHED = "rq:finished:" + QUEUE
RQ_FAILED = "rq:failed:" + QUEUE
RQ_CANCELED = "rq:canceled:" + QUEUE
RQ_SCHEDULED = "rq:scheduled:" + QUEUE
RQ_DEFERRED = "rq:deferred:" + QUEUE
RQ_SCHEDULER_LOCK = "rq:scheduler-lock:" + QUEUE
RQ_SUSPENDED = "rq:suspended"
RQ_WORKERS = "rq:workers"
RQ_QUEUE_WORKERS = "rq:workers:" + QUEUE


def session(session_id: str) -> str:
    """What a session must not forget."""
    return f"{PREFIX}session:{session_id}"


def inflight(session_id: str) -> str:
    """Packet ids between PUBLISH and PUBREL."""
    return f"{PREFIX}session:{session_id}:inflight"


def lease(session_id: str) -> str:
    """Who may act for the session."""
    return f"{PREFIX}lease:{session_id}"


def counters(trigger: str) -> str:
    """The trigger's cells of the identities."""
    return f"{PREFIX}counters:{trigger}"


def published(trigger: str, digest: str) -> str:
    """A publisher's own id, remembered."""
    return f"{PREFIX}published:{trigger}:{digest}"


def runs(trigger: str) -> str:
    """The trigger's runs in order."""
    return f"{PREFIX}runs:{trigger}"


def suspended(trigger: str) -> str:
    """The trigger's runs that wait to be resumed, in order."""
    return f"{PREFIX}suspended:{trigger}"


def outbox(broker: str) -> str:
    """What is to be published to a broker, in order."""
    return f"{PREFIX}outbox:{broker}"


def sending(broker: str) -> str:
    """The task of sending from a broker's outbox."""
    return f"outbox:{broker}"


def watching(broker: str) -> str:
    """The task of listening to what a broker tells of itself."""
    return f"queues:{broker}"


def role(name: str) -> str:
    """Who has a task that one process at a time may do."""
    return f"{PREFIX}role:{name}"


def children(run_id: str) -> str:
    """What a run has started, and what that has started, in order."""
    return f"{PREFIX}children:{run_id}"


def flow(run_id: str) -> str:
    """What the steps of a flow have come to."""
    return f"{PREFIX}flow:{run_id}"


def live_log(run_id: str) -> str:
    """What a run that takes long has printed so far."""
    return f"{PREFIX}log:{run_id}"


def browser_session(digest: str) -> str:
    """A browser that is logged in to the console."""
    return f"{PREFIX}browser:{digest}"


def login_link(digest: str) -> str:
    """A link that logs a browser in."""
    return f"{PREFIX}link:{digest}"


def login_tries(address: str) -> str:
    """How many logins from an address have failed lately."""
    return f"{PREFIX}tries:{address}"


def capture_config(kind: str, path: str) -> str:
    """What is to be captured for a script or flow."""
    return f"{PREFIX}capture:config:{kind}:{path}"


def capture_ping(kind: str, path: str) -> str:
    """There while somebody looks at what is captured."""
    return f"{PREFIX}capture:ping:{kind}:{path}"


def capture_lease(kind: str, path: str) -> str:
    """There while a console process keeps what is captured."""
    return f"{PREFIX}capture:lease:{kind}:{path}"


def captures(kind: str, path: str) -> str:
    """The numbers of captured messages, newest first."""
    return f"{PREFIX}capture:of:{kind}:{path}"


def capture(number: int) -> str:
    """A captured message."""
    return f"{PREFIX}capture:{number}"


def lock_answer(lock_id: str) -> str:
    """The packages of a script, as long as somebody waits for them."""
    return f"{PREFIX}lock_answer:{lock_id}"


def answers(ask_id: str) -> str:
    """What ingest answers to something that it was asked."""
    return f"{PREFIX}ask:{ask_id}"


def wanted(ask_id: str) -> str:
    """There while somebody waits for the answers."""
    return f"{PREFIX}ask:{ask_id}:wanted"


def worker(name: str) -> str:
    """There while the worker is alive."""
    return f"{PREFIX}worker:{name}"


def claims(name: str) -> str:
    """What the worker has taken and not yet finished."""
    return f"{PREFIX}worker:{name}:claims"


def job(run_id: str) -> str:
    """RQ's job hash, which is the run's record."""
    return "rq:job:" + run_id


def results(run_id: str) -> str:
    """RQ's results stream: one entry per attempt that ended."""
    return "rq:results:" + run_id


def rq_worker(name: str) -> str:
    """RQ's worker hash."""
    return "rq:worker:" + name
