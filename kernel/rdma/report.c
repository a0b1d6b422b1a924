// SPDX-License-Identifier: GPL-2.0
/*
 * Report: debugfs, for the question "why is it slow, or not working?".
 *
 *	p2pbuf/rdma/connections	one line an open file: state, counters
 *	p2pbuf/rdma/refusals	how often IMPORT was refused, for which cause
 */
#include <linux/debugfs.h>
#include <linux/errname.h>
#include <linux/seq_file.h>
#include "rdma.h"

/* In the order of the table in the uapi header. */
static struct p2pbuf_cause causes[] = {
	{ EINVAL, "malformed request" },
	{ ENOTCONN, "no connection" },
	{ ENODEV, "RDMA device going away" },
	{ EBADF, "file descriptor not open" },
	{ EBADFD, "not a dma-buf" },
	{ EDOM, "offset or length not a multiple of 4096" },
	{ ERANGE, "range outside the buffer, or no such id" },
	{ EFBIG, "too many registrations" },
	{ EEXIST, "id in use" },
	{ EMFILE, "all ids in use" },
	{ EOPNOTSUPP, "no pages, and the RDMA device copies with the CPU" },
	{ EREMOTEIO, "buffer in host memory" },
	{ EHOSTUNREACH, "no route to the exporter's BAR" },
	{ EHOSTDOWN, "exporter's BAR does not decode" },
	{ EFAULT, "address leads nowhere" },
	{ EADDRNOTAVAIL, "bounce buffers" },
	{ ENODATA, "nobody can tell where addresses lead" },
	{ 0, "other" },
};

static const char * const state_names[] = {
	[P2PBUF_RDMA_NEW] = "new",
	[P2PBUF_RDMA_LISTENING] = "listening",
	[P2PBUF_RDMA_CONNECTING] = "connecting",
	[P2PBUF_RDMA_UP] = "up",
	[P2PBUF_RDMA_DEAD] = "dead",
};

static LIST_HEAD(report_conns);
static DEFINE_MUTEX(rdma_report_lock);
static struct dentry *report_dir;

void p2pbuf_rdma_report_refusal(int err, u32 reason)
{
	const char *why = p2pbuf_cause_count(causes, err);

	pr_debug("p2pbuf_rdma: import refused: %s; %s\n", why,
		 p2pbuf_reason_text(reason));
}

void p2pbuf_rdma_report_add(struct p2pbuf_rdma_conn *conn)
{
	mutex_lock(&rdma_report_lock);
	list_add_tail(&conn->node, &report_conns);
	mutex_unlock(&rdma_report_lock);
}

void p2pbuf_rdma_report_del(struct p2pbuf_rdma_conn *conn)
{
	mutex_lock(&rdma_report_lock);
	list_del(&conn->node);
	mutex_unlock(&rdma_report_lock);
}

static void conn_info_counters(const struct p2pbuf_rdma_counters *c,
			       struct p2pbuf_rdma_info *info)
{
	info->reads = c->reads;
	info->writes = c->writes;
	info->bytes = c->bytes;
	info->errors = c->errors;
	info->parkings = c->parkings;
	info->grants_sent = c->grants_sent;
	info->grants_received = c->grants_received;
	info->recalls_sent = c->recalls_sent;
	info->recalls_received = c->recalls_received;
	info->revocations = c->revocations;
	info->registrations = c->registrations;
	info->invalidations = c->invalidations;
	info->messages_sent = c->messages_sent;
	info->messages_received = c->messages_received;
}

/* Fills all but size. */
void p2pbuf_rdma_conn_info(struct p2pbuf_rdma_conn *conn,
			   struct p2pbuf_rdma_info *info)
{
	spin_lock(&conn->io_lock);
	info->state = conn->state;
	info->error = conn->error;
	info->limits = conn->limits;
	info->parked = list_count_nodes(&conn->parked);
	conn_info_counters(&conn->counters, info);
	if (conn->segment_shift)
		info->segment = BIT(conn->segment_shift);
	/* The device is there as long as the connection is. */
	if (conn->state == P2PBUF_RDMA_UP) {
		if (ib_uses_virt_dma(conn->dev))
			info->flags |= P2PBUF_RDMA_F_CPU;
		strscpy((char *)info->device, dev_name(&conn->dev->dev),
			sizeof(info->device));
	}
	spin_unlock(&conn->io_lock);
}

static int connections_show(struct seq_file *s, void *unused)
{
	struct p2pbuf_rdma_conn *conn;

	mutex_lock(&rdma_report_lock);
	list_for_each_entry(conn, &report_conns, node) {
		struct p2pbuf_rdma_info info = {};

		p2pbuf_rdma_conn_info(conn, &info);
		seq_printf(s, "%s error=%s device=%s reads=%llu writes=%llu bytes=%llu errors=%llu parked=%u parkings=%llu grants=%llu/%llu recalls=%llu/%llu revocations=%llu registrations=%llu invalidations=%llu messages=%llu/%llu\n",
			   state_names[info.state],
			   info.error ? errname(info.error) : "-",
			   info.device[0] ? (char *)info.device : "-",
			   info.reads, info.writes, info.bytes, info.errors,
			   info.parked, info.parkings, info.grants_sent,
			   info.grants_received, info.recalls_sent,
			   info.recalls_received, info.revocations,
			   info.registrations, info.invalidations,
			   info.messages_sent, info.messages_received);
	}
	mutex_unlock(&rdma_report_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(connections);

void p2pbuf_rdma_report_init(void)
{
	report_dir = debugfs_create_dir("rdma", p2pbuf_debugfs_root());
	debugfs_create_file("connections", 0400, report_dir, NULL,
			    &connections_fops);
	p2pbuf_causes_create_file(causes, report_dir);
}

void p2pbuf_rdma_report_exit(void)
{
	debugfs_remove_recursive(report_dir);
}
