#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Programs of others on p2pbuf's dma-bufs over the test NIC: pyverbs' dma-buf
# tests in each flavour of registration, perftest between two processes, and
# rping. Each result is a line that ci/external counts:
#
#	external: ok|FAIL|skip NAME

export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
dev=p2pbuf_nic0 net=p2pbufnic address=198.51.100.1
preload=/tmp/p2pbuf-external.so
cp /selftests/p2pbuf-external.so $preload
mkdir -p /tmp/site
cp /selftests/sitecustomize.py /tmp/site

say()
{
	echo "external: $*"
}

# in the build root, where the programs are
tool()
{
	/ci/toolbox env LC_ALL=C.UTF-8 LD_PRELOAD=$preload "$@"
}

nic()
{
	modprobe -a dummy ib_uverbs rdma_ucm &&
		modprobe p2pbuf_nic device="$P2PBUF_EDU_PCI" &&
		ip link add $net type dummy && ip link set $net mtu 4500 up &&
		ip addr add $address/24 dev $net &&
		/ci/toolbox rdma link add $dev type p2pbuf_nic netdev $net
}

# The index of the RoCE v2 address over IPv4, which comes a moment later.
gid()
{
	local i tries=0
	while [ $tries -lt 100 ]; do
		for i in 0 1 2 3 4 5; do
			case $(cat /sys/class/infiniband/$dev/ports/1/gids/$i 2>/dev/null) in
			0000:0000:0000:0000:0000:ffff:*) echo $i; return ;;
			esac
		done
		tries=$((tries + 1))
		usleep 100000
	done
}

# VRAM for the pinned flavour as well; that is settled when a function is bound.
unrevocable()
{
	local f
	echo 1 >/sys/module/p2pbuf_exporter/parameters/unrevocable
	for f in /sys/bus/pci/drivers/p2pbuf_exporter/0*; do
		echo ${f##*/} >/sys/bus/pci/drivers/p2pbuf_exporter/unbind
		echo ${f##*/} >/sys/bus/pci/drivers_probe
	done
}

pyverbs()
{
	local line
	echo $1 >/sys/module/p2pbuf_nic/parameters/flavour
	tool sh -c "cd /usr/share/p2pbuf/rdma-core/tests &&
		PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/tmp/site python3 run_tests.py -v --dev $dev \
		--gid $gid tests.test_mr.DmaBufMRTest tests.test_mr.DmaBufTestCase" \
		>/tmp/pyverbs 2>&1 </dev/null
	cat /tmp/pyverbs
	awk -v flavour=$1 '
		/^test_[a-z_]+ \(/ { name = $1 }
		name != "" && / \.\.\. / {
			verdict = $0
			sub(/.* \.\.\. /, "", verdict)
			word = verdict ~ /^ok/ ? "ok" : \
				verdict ~ /^skipped/ ? "skip" : "FAIL"
			print "external: " word " pyverbs-" flavour " " name
			name = ""
		}
		/^Ran [0-9]+ tests?/ { ran = $2 }
		END { if (!ran) print "external: FAIL pyverbs-" flavour " ran nothing" }
	' /tmp/pyverbs
}

# Server and client on the same device; both buffers are VRAM.
perftest()
{
	local server name=$1 tries=0 rc=0
	shift
	tool $name -d $dev -x $gid -F --mmap=$node "$@" >/tmp/server 2>&1 </dev/null &
	server=$!
	while ! netstat -ltn | grep -q :18515 && [ $tries -lt 100 ]; do
		tries=$((tries + 1))
		usleep 100000
	done
	tool timeout 120 $name -d $dev -x $gid -F --mmap=$node "$@" 127.0.0.1 \
		>/tmp/client 2>&1 </dev/null || rc=$?
	[ $rc -eq 0 ] || kill $server
	wait $server || rc=$?
	cat /tmp/client
	if [ $rc -eq 0 ] && grep -q '^ #bytes' /tmp/client &&
		grep -q 'p2pbuf: dma-buf registered' /tmp/client &&
		grep -q 'p2pbuf: dma-buf registered' /tmp/server; then
		say ok "perftest $name"
	else
		cat /tmp/server
		say FAIL "perftest $name ($rc)"
	fi
}

# Connections by the kernel's connection manager, data in host memory.
rping()
{
	local server rc=0
	/ci/toolbox rping -s -a $address -C 10 >/tmp/server 2>&1 </dev/null &
	server=$!
	sleep 2
	/ci/toolbox timeout 60 rping -c -a $address -C 10 -V -v >/tmp/client \
		2>&1 </dev/null || rc=$?
	kill $server 2>/dev/null
	wait $server
	if [ $rc -eq 0 ] && [ "$(grep -c 'ping data: rdma-ping-' /tmp/client)" = 10 ]; then
		say ok rping
	else
		cat /tmp/server /tmp/client
		say FAIL "rping ($rc)"
	fi
}

unrevocable
node=/dev/dri/$(basename /sys/bus/pci/devices/$P2PBUF_EXPORTER_PCI/drm/renderD*)
if ! nic; then
	say FAIL 'no test NIC'
	exit 1
fi
gid=$(gid)
rping
pyverbs dynamic
pyverbs revocable
pyverbs pinned
echo dynamic >/sys/module/p2pbuf_nic/parameters/flavour
perftest ib_write_bw -s 65536 -n 200
perftest ib_read_bw -s 65536 -n 200
perftest ib_send_bw -s 65536 -n 200
perftest ib_write_lat -s 64 -n 200
perftest ib_atomic_bw -n 200
rmmod p2pbuf_nic
ip link del $net
say end
