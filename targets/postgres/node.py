"""What a node runs: shell that prepares the data directory, starts the server as an unprivileged user, and may promote it.

PostgreSQL has no fail-over of its own: "PostgreSQL does not provide the system software required to identify a failure on the
primary and notify the standby database server" (https://www.postgresql.org/docs/15/warm-standby-failover.html). WATCH is the least
that people write for themselves: the standby looks after the primary and promotes itself, and an old primary that comes back, or
sees a later one, becomes its standby. It does not fence: while the two cannot see each other, both may be primaries.
"""

FIND = "postgres=$(ls /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)"
"""Debian keeps each version's programs in a folder of its own, outside of PATH."""

START = """
data=$1 run=$2; shift 2
if [ "$(id -u)" != 0 ]; then
  # Its shared memory goes with it, where the kernel lets users have name spaces.
  own="unshare --user --map-current-user --ipc"
  $own true 2>/dev/null || own=""
  exec $own bash -c "$run" postgres-node "$data" "$@"
fi
if ! id postgres >/dev/null 2>&1; then
  echo "root may not run PostgreSQL, and there is no user postgres: apt-get install postgresql" >&2
  exit 1
fi
if ! setpriv --reuid=postgres --regid=postgres --clear-groups true 2>/dev/null; then
  echo "root may not run PostgreSQL, and may not become the user postgres here: use another environment" >&2
  exit 1
fi
chown -R postgres:postgres "$data"
as="setpriv --reuid=postgres --regid=postgres --clear-groups --pdeathsig=KILL"
home=/var/lib/postgresql
if [ -d $home ] && unshare --ipc --mount true 2>/dev/null; then
  # The user postgres may not reach the directory by its own path. Nobody else sees this mount.
  exec unshare --ipc --mount bash -c 'mount --bind "$1" "$2" && cd / && shift && exec '"$as"' bash -c "$0" postgres-node "$@"' \\
    "$run" "$data" $home "$@"
fi
if ! $as test -w "$data"; then
  echo "the user postgres cannot reach $data: choose another folder by --store, or run as another user than root" >&2
  exit 1
fi
exec $as bash -c "$run" postgres-node "$data" "$@"
"""
"""Becomes an unprivileged user, since PostgreSQL refuses root, and runs the script $2 on the data directory $1."""

RUN = (
    FIND
    + """
bin=$(dirname "$postgres")
data=$1 node=$2 begins=$3 peer_host=$4 peer_port=$5 failover_s=$6; shift 6
export PGUSER=themis PGDATABASE=postgres PGCONNECT_TIMEOUT=2 PGSSLMODE=disable PGGSSENCMODE=disable LC_ALL=C
cd "$data" || exit 1

create() {  # A database of its own.
  rm -rf new
  "$bin/initdb" -D new -U themis --pwfile=<(printf '%s' "$PGPASSWORD") -A scram-sha-256 -E UTF8 --locale=C --data-checksums \\
    >/dev/null || exit 1
  printf 'host all all all scram-sha-256\\nhost replication all all scram-sha-256\\n' >>new/pg_hba.conf
  echo 1 >new/era
}

fetch() {  # A copy of the peer's, to follow it.
  rm -rf new
  "$bin/pg_basebackup" -h "$peer_host" -p "$peer_port" -D new --checkpoint=fast || return 1
  rm -f new/demoted
  touch new/standby.signal
}

swap() {  # The new one takes the place of what there is, and is on the disk as what is in it.
  sync new/era new
  rm -rf old
  [ ! -e pgdata ] || mv pgdata old
  mv new pgdata
  touch formed
  sync formed .
  rm -rf old
  sync .
}

start() {
  # What it wrote as the primary may lie beyond where a later one began: it would not start on that one's timeline.
  [ ! -e pgdata/demoted ] || set -- "$@" --recovery_target_timeline=current
  setpriv --pdeathsig=KILL "$postgres" -D pgdata "$@" &
  server=$!
}

ask() {  # Whether the peer is a primary (t or f; nothing: it does not answer), and of which era.
  local query="select not pg_is_in_recovery(), trim(E'\\n' from pg_read_file('era'))"
  IFS='|' read -r is_primary era < <(timeout 1 "$bin/psql" -h "$peer_host" -p "$peer_port" -XAtq -c "$query" 2>/dev/null)
}

promote() {
  echo "themis: $1: this node becomes the primary" >&2
  echo $(($(<pgdata/era) + 1)) >era
  sync era
  mv era pgdata/era
  rm -f pgdata/demoted
  sync pgdata .
  "$bin/pg_ctl" promote -D pgdata --no-wait >&2
}

if [ ! -e pgdata ]; then
  if [ "$begins" = yes ] && [ ! -e formed ]; then
    create
  else
    until fetch; do sleep 0.2; done
  fi
  swap
elif [ "$failover_s" -gt 0 ] && [ ! -e pgdata/standby.signal ]; then
  # It was the primary, and was down. Its standby is the primary by now, or will be.
  touch pgdata/demoted
  sync pgdata/demoted pgdata
  touch pgdata/standby.signal
  sync pgdata/standby.signal pgdata
fi
if [ "$failover_s" = 0 ]; then
  exec setpriv --pdeathsig=KILL "$postgres" -D pgdata "$@"
fi

start "$@"
heard=$SECONDS
while :; do
  sleep 0.5
  if ! kill -0 $server 2>/dev/null; then
    wait $server
    exit $?
  fi
  ask
  mine=$(<pgdata/era)
  if [ "$is_primary" = t ] && { [ "$era" -gt "$mine" ] || [ -e pgdata/demoted ]; }; then
    echo "themis: the peer is the primary of era $era: this node follows it" >&2
    if fetch; then
      "$bin/pg_ctl" stop -D pgdata -m immediate >&2
      wait $server
      swap
      start "$@"
    fi
    heard=$SECONDS
  elif [ ! -e pgdata/standby.signal ] || [ "$is_primary" = t ]; then
    heard=$SECONDS
  elif [ -e pgdata/demoted ]; then
    if [ "$is_primary" = f ] && [ "$era" -lt "$mine" ]; then
      promote "the peer never was a primary of this era"
    fi
  elif [ $((SECONDS - heard)) -gt "$failover_s" ]; then
    promote "no primary since $failover_s s"
    heard=$SECONDS
  fi
done
"""
)
"""Runs the server on $1 as node $2. begins: it may create the database. failover_s: its standby becomes the primary when none was
seen for so long; 0: never, and no role changes. The rest are the server's arguments.

An era is the reign of one primary: the file `era` in the database counts them, and goes with each copy of it. The file `demoted` in
the database marks one that was a primary's when that went down. It never leads again by itself while its standby may lead, so that
there are not two; it waits until its peer is a primary, and takes a copy of it. The mark is in the database so that it goes, at one
instant, with what it marks: a node that was killed between the two would hold a whole copy, and wait for its peer, which waits too.
"""
