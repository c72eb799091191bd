// The hook signatures that hooks.def names, for code generated from it.
#pragma once

// The parameters after (Trainer&, LightningModule&): as types, as parameters, as arguments.
#define RTRAIN_HOOK_TYPES_PLAIN
#define RTRAIN_HOOK_PARAMETERS_PLAIN
#define RTRAIN_HOOK_ARGUMENTS_PLAIN
#define RTRAIN_HOOK_TYPES_STAGE , Stage
#define RTRAIN_HOOK_PARAMETERS_STAGE , Stage stage
#define RTRAIN_HOOK_ARGUMENTS_STAGE , stage
#define RTRAIN_HOOK_TYPES_BATCH , const Batch&, std::int64_t
#define RTRAIN_HOOK_PARAMETERS_BATCH , const Batch &batch, std::int64_t batch_idx
#define RTRAIN_HOOK_ARGUMENTS_BATCH , batch, batch_idx
#define RTRAIN_HOOK_TYPES_OUTPUT , const torch::Tensor&, const Batch&, std::int64_t
#define RTRAIN_HOOK_PARAMETERS_OUTPUT \
  , const torch::Tensor &output, const Batch &batch, std::int64_t batch_idx
#define RTRAIN_HOOK_ARGUMENTS_OUTPUT , output, batch, batch_idx
#define RTRAIN_HOOK_TYPES_TRAINED , const StepOutput&, const Batch&, std::int64_t
#define RTRAIN_HOOK_PARAMETERS_TRAINED , const StepOutput &output, const Batch &batch, std::int64_t batch_idx
#define RTRAIN_HOOK_ARGUMENTS_TRAINED , output, batch, batch_idx
#define RTRAIN_HOOK_TYPES_LOSS , const torch::Tensor&
#define RTRAIN_HOOK_PARAMETERS_LOSS , const torch::Tensor& loss
#define RTRAIN_HOOK_ARGUMENTS_LOSS , loss
#define RTRAIN_HOOK_TYPES_OPTIMIZER , Optimizer&
#define RTRAIN_HOOK_PARAMETERS_OPTIMIZER , Optimizer& optimizer
#define RTRAIN_HOOK_ARGUMENTS_OPTIMIZER , optimizer
#define RTRAIN_HOOK_TYPES_SAVE , TrainerCheckpoint&
#define RTRAIN_HOOK_PARAMETERS_SAVE , TrainerCheckpoint& checkpoint
#define RTRAIN_HOOK_ARGUMENTS_SAVE , checkpoint
#define RTRAIN_HOOK_TYPES_LOAD , const TrainerCheckpoint&
#define RTRAIN_HOOK_PARAMETERS_LOAD , const TrainerCheckpoint& checkpoint
#define RTRAIN_HOOK_ARGUMENTS_LOAD , checkpoint
#define RTRAIN_HOOK_TYPES_EXCEPTION , const std::exception&
#define RTRAIN_HOOK_PARAMETERS_EXCEPTION , const std::exception& error
#define RTRAIN_HOOK_ARGUMENTS_EXCEPTION , error

// MACRO(name, signature) for a hook that callbacks have; nothing for NONE.
#define RTRAIN_FOR_CALLBACKS(signature, MACRO, name) RTRAIN_FOR_CALLBACKS_##signature(MACRO, name)
#define RTRAIN_FOR_CALLBACKS_NONE(MACRO, name)
#define RTRAIN_FOR_CALLBACKS_PLAIN(MACRO, name) MACRO(name, PLAIN)
#define RTRAIN_FOR_CALLBACKS_STAGE(MACRO, name) MACRO(name, STAGE)
#define RTRAIN_FOR_CALLBACKS_BATCH(MACRO, name) MACRO(name, BATCH)
#define RTRAIN_FOR_CALLBACKS_OUTPUT(MACRO, name) MACRO(name, OUTPUT)
#define RTRAIN_FOR_CALLBACKS_TRAINED(MACRO, name) MACRO(name, TRAINED)
#define RTRAIN_FOR_CALLBACKS_LOSS(MACRO, name) MACRO(name, LOSS)
#define RTRAIN_FOR_CALLBACKS_OPTIMIZER(MACRO, name) MACRO(name, OPTIMIZER)
#define RTRAIN_FOR_CALLBACKS_SAVE(MACRO, name) MACRO(name, SAVE)
#define RTRAIN_FOR_CALLBACKS_LOAD(MACRO, name) MACRO(name, LOAD)
#define RTRAIN_FOR_CALLBACKS_EXCEPTION(MACRO, name) MACRO(name, EXCEPTION)
