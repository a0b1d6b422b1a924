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
#include <sys/socket.h>

#include <linux/netlink.h>
#include <rdma/rdma_netlink.h>

#include "kselftest_harness.h"

#define PTV_MODULE	"p2pbuf_nic"
#define PTV_DEVICE	"p2pbuf_nic0"
#define PTV_NETDEV	"p2pbufnic"
#define PTV_ADDRESS	"198.51.100.1"

static inline int ptv_run(const char *command)
{
	int status = system(command);

	return status == -1 ? -errno : status ? -EIO : 0;
}

static inline size_t ptv_attr(char *msg, size_t at, __u16 type,
			      const char *text)
{
	struct nlattr *attr = (struct nlattr *)(msg + at);
	size_t len = strlen(text) + 1;

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	memcpy(msg + at + NLA_HDRLEN, text, len);
	return at + NLA_HDRLEN + NLA_ALIGN(len);
}

/* What `rdma link add` does. */
static inline int ptv_link_add(void)
{
	char msg[512] = { }, reply[512];
	struct nlmsghdr *head = (struct nlmsghdr *)msg;
	const struct nlmsgerr *answer;
	size_t len = NLMSG_HDRLEN;
	int fd, ret = -EIO;

	len = ptv_attr(msg, len, RDMA_NLDEV_ATTR_DEV_NAME, PTV_DEVICE);
	len = ptv_attr(msg, len, RDMA_NLDEV_ATTR_LINK_TYPE, PTV_MODULE);
	len = ptv_attr(msg, len, RDMA_NLDEV_ATTR_NDEV_NAME, PTV_NETDEV);
	head->nlmsg_len = len;
	head->nlmsg_type = RDMA_NL_GET_TYPE(RDMA_NL_NLDEV,
					    RDMA_NLDEV_CMD_NEWLINK);
	head->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_RDMA);
	if (fd < 0)
		return -errno;
	if (send(fd, msg, len, 0) == (ssize_t)len &&
	    recv(fd, reply, sizeof(reply), 0) >=
	    (ssize_t)NLMSG_LENGTH(sizeof(*answer))) {
		answer = NLMSG_DATA((struct nlmsghdr *)reply);
		ret = answer->error;
	}
	close(fd);
	return ret;
}

/* At the end of the program, not of its children. */
static pid_t ptv_owner;

static inline void ptv_nic_down(void)
{
	if (getpid() != ptv_owner)
		return;
	ptv_run("rmmod " PTV_MODULE " 2>/dev/null");
	ptv_run("ip link del " PTV_NETDEV " 2>/dev/null");
}

/*
 * For as long as the program runs. -ENODEV: none was built for this kernel, or
 * there is no PCI function to make one of.
 */
static inline int ptv_nic_up(void)
{
	const char *function = getenv("P2PBUF_EDU_PCI");
	char command[96];
	int ret;

	if (!function || ptv_run("modinfo " PTV_MODULE " >/dev/null 2>&1"))
		return -ENODEV;
	ptv_owner = getpid();
	snprintf(command, sizeof(command), "modprobe " PTV_MODULE " device=%s",
		 function);
	ret = ptv_run("modprobe -a dummy ib_uverbs rdma_ucm");
	if (!ret)
		ret = ptv_run(command);
	if (!ret)
		ret = ptv_run("ip link add " PTV_NETDEV " type dummy");
	if (!ret)
		ret = ptv_run("ip link set " PTV_NETDEV " mtu 4500 up");
	if (!ret)
		ret = ptv_run("ip addr add " PTV_ADDRESS "/24 dev " PTV_NETDEV);
	if (!ret)
		ret = ptv_link_add();
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
	int fd, ret = 0;

	fd = open("/sys/module/" PTV_MODULE "/parameters/flavour",
		  O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, flavour, strlen(flavour)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

#endif /* P2PBUF_TEST_NIC_H */
