// SPDX-License-Identifier: GPL-2.0
/* Module of the NVMe importer: pre-mapped I/O on dma-bufs. */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include "nvme.h"

/* For root alone until udev gives it to a group. */
static struct miscdevice p2pbuf_nvme_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2pbuf-nvme",
	.fops = &p2pbuf_nvme_fops,
	.mode = 0600,
};

static int __init p2pbuf_nvme_init(void)
{
	int ret;

	BUILD_BUG_ON(sizeof(struct p2pbuf_path_info) != 64);
	BUILD_BUG_ON(sizeof(struct p2pbuf_nvme_bind) != 136);
	BUILD_BUG_ON(sizeof(struct p2pbuf_nvme_bind_info) != 192);

	ret = p2pbuf_nvme_prove_any();
	if (ret)
		return ret;
	p2pbuf_nvme_batch_init();
	p2pbuf_nvme_report_init();
	ret = misc_register(&p2pbuf_nvme_misc);
	if (ret)
		p2pbuf_nvme_report_exit();
	return ret;
}

static void __exit p2pbuf_nvme_exit(void)
{
	misc_deregister(&p2pbuf_nvme_misc);
	p2pbuf_nvme_report_exit();
}

module_init(p2pbuf_nvme_init);
module_exit(p2pbuf_nvme_exit);
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("p2pbuf: pre-mapped NVMe I/O on dma-bufs");
