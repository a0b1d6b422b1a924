// SPDX-License-Identifier: GPL-2.0
/* Module of the RDMA importer: RDMA between dma-bufs of two machines. */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include "rdma.h"

/* On the way to fences: reclaim may wait for it. */
struct workqueue_struct *p2pbuf_rdma_wq;
/* Maps, which allocates and waits for exporters. */
struct workqueue_struct *p2pbuf_rdma_map_wq;

/* For root alone until udev gives it to a group. */
static struct miscdevice p2pbuf_rdma_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2pbuf-rdma",
	.fops = &p2pbuf_rdma_fops,
	.mode = 0600,
};

static int __init p2pbuf_rdma_init(void)
{
	int ret = -ENOMEM;

	BUILD_BUG_ON(sizeof(struct p2pbuf_rdma_msg) != 64);
	BUILD_BUG_ON(sizeof(struct p2pbuf_rdma_hello) != 16);
	BUILD_BUG_ON(sizeof(struct p2pbuf_rdma_cmd) != 48);

	p2pbuf_rdma_wq = alloc_workqueue("p2pbuf_rdma",
					 WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!p2pbuf_rdma_wq)
		return -ENOMEM;
	p2pbuf_rdma_map_wq = alloc_workqueue("p2pbuf_rdma_map", WQ_UNBOUND, 0);
	if (!p2pbuf_rdma_map_wq)
		goto destroy_wq;
	p2pbuf_rdma_report_init();
	ret = misc_register(&p2pbuf_rdma_misc);
	if (ret)
		goto exit_report;
	return 0;

exit_report:
	p2pbuf_rdma_report_exit();
	destroy_workqueue(p2pbuf_rdma_map_wq);
destroy_wq:
	destroy_workqueue(p2pbuf_rdma_wq);
	return ret;
}

static void __exit p2pbuf_rdma_exit(void)
{
	misc_deregister(&p2pbuf_rdma_misc);
	p2pbuf_rdma_report_exit();
	destroy_workqueue(p2pbuf_rdma_map_wq);
	destroy_workqueue(p2pbuf_rdma_wq);
}

module_init(p2pbuf_rdma_init);
module_exit(p2pbuf_rdma_exit);
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("p2pbuf: RDMA between dma-bufs of two machines");
