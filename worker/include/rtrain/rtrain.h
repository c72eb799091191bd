// The whole SDK.
#pragma once

#include <rtrain/callbacks.h>
#include <rtrain/cluster_environment.h>
#include <rtrain/communicator.h>
#include <rtrain/config.h>
#include <rtrain/context.h>
#include <rtrain/data.h>
#include <rtrain/generators.h>
#include <rtrain/lightning_module.h>
#include <rtrain/loggers.h>
#include <rtrain/mesh.h>
#include <rtrain/models.h>
#include <rtrain/names.h>
#include <rtrain/optim.h>
#include <rtrain/plan.h>
#include <rtrain/process_group.h>
#include <rtrain/progress.h>
#include <rtrain/registry.h>
#include <rtrain/result.h>
#include <rtrain/safetensors.h>
#include <rtrain/state_tree.h>
#include <rtrain/strategies.h>
#include <rtrain/torch_trainer.h>
#include <rtrain/trainer.h>
#include <rtrain/version.h>
