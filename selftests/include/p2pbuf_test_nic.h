/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The test NIC (selftests/nic) as an administrator handles it: load it on a
 * PCI function, give it a link, choose how it registers dma-bufs.
 *
 * Calls return 0 or -errno. While the NIC is loaded no other link of the
 * kernel's own rxe may be there: both own one UDP port, and unloading takes
 * the links of both.
 */
#ifndef P2PBUF_TEST_NIC_H
#define P2PBUF_TEST_NIC_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_link.h"
#include "p2pbuf_test_run.h"
#include "p2pbuf_test_write.h"

#define PTV_MODULE	"p2pbuf_nic"
#define PTV_DEVICE	"p2pbuf_nic0"
#define PTV_NETDEV	"p2pbufnic"
#define PTV_ADDRESS	"198.51.100.1"

/* At the end of the program, not of its children. */
static pid_t ptv_owner;

static inline void ptv_nic_down(void)
{
	if (getpid() != ptv_owner)
		return;
	ptk_run("rmmod " PTV_MODULE " 2>/dev/null");
	ptk_run("ip link del " PTV_NETDEV " 2>/dev/null");
}

/*
 * For as long as the program runs. -ENODEV: none was built for this kernel, or
 * there is no PCI function to make one of.
 */
static inline int ptv_nic_up(void)
{
	const char *function = getenv("P2PBUF_EDU_PCI");
	int ret;

	if (!function || ptk_run("modinfo " PTV_MODULE " >/dev/null 2>&1"))
		return -ENODEV;
	ptv_owner = getpid();
	/* It has the UDP port perhaps, as p2pbuf_test_link.h tells. */
	ptk_run("modprobe -r rdma_rxe 2>/dev/null");
	ret = ptk_run("modprobe -a dummy ib_uverbs rdma_ucm");
	if (!ret)
		ret = ptk_run("modprobe " PTV_MODULE " device=%s", function);
	if (!ret)
		ret = ptk_run("ip link add " PTV_NETDEV " type dummy");
	if (!ret)
		ret = ptk_run("ip link set " PTV_NETDEV " mtu 4500 up");
	if (!ret)
		ret = ptk_run("ip addr add " PTV_ADDRESS "/24 dev " PTV_NETDEV);
	if (!ret)
		ret = ptd_link_wait(PTV_DEVICE, PTV_MODULE, PTV_NETDEV);
	if (ret || atexit(ptv_nic_down))
		ptv_nic_down();
	return ret;
}

/* One NIC for all: a link takes longer than a test. */
static inline int ptv_main(int argc, char **argv)
{
	int ret = ptv_nic_up();

	if (ret && ret != -ENODEV) {
		ksft_print_msg("no test NIC: %s\n", strerror(-ret));
		return 1;
	}
	ptk_scale_limits();
	return test_harness_run(argc, argv);
}

/* "dynamic", "revocable" or "pinned", for registrations to come. */
static inline int ptv_nic_flavour(const char *flavour)
{
	return ptk_write("/sys/module/" PTV_MODULE "/parameters/flavour",
			 flavour);
}

#endif /* P2PBUF_TEST_NIC_H */
