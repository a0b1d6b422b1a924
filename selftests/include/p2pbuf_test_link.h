/* SPDX-License-Identifier: GPL-2.0 */
/* Links of software RDMA devices, as `rdma link add` makes them. */
#ifndef P2PBUF_TEST_LINK_H
#define P2PBUF_TEST_LINK_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include <linux/netlink.h>
#include <rdma/rdma_netlink.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_run.h"
#include "p2pbuf_test_until.h"

struct ptd_message {
	struct nlmsghdr head;
	char attributes[256];
};

static inline void ptd_attribute(struct ptd_message *m, int type,
				 const char *value)
{
	struct nlattr *a = (void *)((char *)m + NLMSG_ALIGN(m->head.nlmsg_len));

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + strlen(value) + 1;
	strcpy((char *)a + NLA_HDRLEN, value);
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) +
			    NLA_ALIGN(a->nla_len);
}

/* What `rdma link add NAME type TYPE netdev NETDEV` does. */
static inline int ptd_link_add(const char *name, const char *type,
			       const char *netdev)
{
	struct ptd_message m = {
		.head = {
			.nlmsg_len = NLMSG_HDRLEN,
			.nlmsg_type = RDMA_NL_GET_TYPE(RDMA_NL_NLDEV,
						       RDMA_NLDEV_CMD_NEWLINK),
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		},
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[512];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_RDMA);
	int ret = 0;

	if (fd < 0)
		return -errno;
	ptd_attribute(&m, RDMA_NLDEV_ATTR_DEV_NAME, name);
	ptd_attribute(&m, RDMA_NLDEV_ATTR_LINK_TYPE, type);
	ptd_attribute(&m, RDMA_NLDEV_ATTR_NDEV_NAME, netdev);
	if (send(fd, &m, m.head.nlmsg_len, 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < 0)
		ret = -errno;
	else if (answer.head.nlmsg_type == NLMSG_ERROR)
		ret = answer.error.error;
	close(fd);
	return ret;
}

/*
 * The same with patience: a link before it, of the same name or on the same UDP
 * port, goes in the background. The name is waited for first, because rxe keeps
 * the port for each link that it could not add (Documentation/kernel-bugs.rst).
 */
static inline int ptd_link_wait(const char *name, const char *type,
				const char *netdev)
{
	char path[64];
	int tries, ret;

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s", name);
	ptk_until(access(path, F_OK), 20000 * ptk_slow());
	ret = ptd_link_add(name, type, netdev);
	for (tries = 0; ret && tries < 400 * ptk_slow(); tries++) {
		usleep(50000);
		ret = ptd_link_add(name, type, netdev);
	}
	return ret;
}

#endif /* P2PBUF_TEST_LINK_H */
