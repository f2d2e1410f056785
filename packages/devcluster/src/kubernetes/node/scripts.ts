/**
 * Makes the node's namespaces and holds them open. Runs with the host's network as file descriptor 3, in new namespaces of processes,
 * mounts, network and host name, as their first process. Everything made here vanishes with the last process in it: nothing has to be
 * taken back on the host.
 *
 * Arguments: the node's folder, the registry's folder, the host's interface, its address, the node's address, the prefix, the range of
 * services, the program that goes on as the first process.
 */
export const HOLDER_SCRIPT = `set -eu
root=$1 registry=$2 interface=$3 host=$4 node=$5 prefix=$6 services=$7 pause=$8

# Number and start time as the host counts them: the host's /proc is still mounted.
read -r line </proc/self/stat
set -- $line
pid=$1
shift 21
start=$1

mount -t proc proc /proc
# The state folder may be below /run itself, so it is opened before it is covered.
exec 4<"$root" 5<"$registry"
mount -t tmpfs -o mode=755,nosuid,nodev run /run
mkdir -p /run/aibrix /run/aibrix-registry /run/lock /run/scratch /run/sysctl
mount --bind /proc/self/fd/4 /run/aibrix
mount --bind /proc/self/fd/5 /run/aibrix-registry
exec 4<&- 5<&-
# kubelet, containerd and the network plugins write below these whatever they are told.
for folder in /var/lib /var/log; do
  mkdir -p "/run/scratch$folder/upper" "/run/scratch$folder/work"
  mount -t overlay -o "lowerdir=$folder,upperdir=/run/scratch$folder/upper,workdir=/run/scratch$folder/work" overlay "$folder"
done

# The kubelet sets these for the whole machine unless it finds them set. It shall find them set, and the machine stays as it is.
setting() {
  [ -e "/proc/sys/$1" ] || return 0
  copy=/run/sysctl/$(echo "$1" | tr / .)
  echo "$2" >"$copy"
  mount --bind "$copy" "/proc/sys/$1"
}
setting vm/overcommit_memory 1
setting vm/panic_on_oom 0
setting kernel/panic 10
setting kernel/panic_on_oops 1
setting kernel/keys/root_maxkeys 1000000
setting kernel/keys/root_maxbytes 25000000

# Pods may ask for mounts that reach them later; this reaches no further than the node.
mount --make-rshared /

ip link set lo up
ip link add eth0 type veth peer name "$interface" netns /proc/self/fd/3
nsenter --net=/proc/self/fd/3 ip address add "$host/$prefix" dev "$interface"
nsenter --net=/proc/self/fd/3 ip link set "$interface" up
ip address add "$node/$prefix" dev eth0
ip link set eth0 up
# What the node's own programs send to a service needs a route before kube-proxy sees it. There is no default route: pods cannot leave.
ip route add "$services" via "$host"
echo 1 >/proc/sys/net/ipv4/ip_forward
exec 3<&-

echo "$pid $start" >/run/aibrix/holder.new
mv /run/aibrix/holder.new /run/aibrix/holder
exec "$pause"
`;

/**
 * Runs the holder script in new namespaces. The node sees what the host unmounts, so that it holds nothing fast, and the host sees nothing
 * of the node. Arguments: the script, the node's folder, and the script's other arguments.
 */
export const UNSHARE_COMMAND = `rm -f "$2/holder"
exec 3</proc/self/ns/net
exec unshare --pid --net --mount --uts --fork --kill-child --propagation slave sh "$@"`;

/**
 * Runs a program in the node's namespaces, once they are there. Arguments: the holder's file, program, its arguments.
 * A process that only got the holder's number later is told by its start time: its namespaces might be the host's.
 */
export const ENTER_SCRIPT = `set -u
file=$1
shift
started() {
  read -r line <"/proc/$1/stat" || return 1
  set -- $line
  shift 21
  echo "$1"
}
tries=0
until { read -r pid start <"$file" && [ "$(started "$pid")" = "$start" ]; } 2>/dev/null; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { echo "the node's namespaces are not there" >&2; exit 1; }
  sleep 0.1
done
exec nsenter --target "$pid" --mount --uts --net --pid -- "$@"
`;
