// A callback assembled from functions: Lightning's LambdaCallback.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/detail/hook_signatures.h>

#include <functional>

namespace rtrain {

/// One function per hook, named after it, in the order in which a fit calls the hooks (hooks.def):
///   LambdaCallback({.on_fit_start = [](Trainer&, LightningModule&) { ... }})
struct RTRAIN_API LambdaFunctions {
#define RTRAIN_LAMBDA_ANY(name, signature) \
  std::function<void(Trainer&, LightningModule & RTRAIN_HOOK_TYPES_##signature)> name{};
#define RTRAIN_HOOK(id, name, log, period, signature) RTRAIN_FOR_CALLBACKS(signature, RTRAIN_LAMBDA_ANY, name)
#include <rtrain/hooks.def>
#undef RTRAIN_LAMBDA_ANY
};

/// Lightning's LambdaCallback: a callback of functions, one for each hook that is given.
///   LambdaCallback({.on_train_end = [](Trainer&, LightningModule&) { ... }})
class RTRAIN_API LambdaCallback : public Callback {
 public:
  explicit LambdaCallback(LambdaFunctions functions) : f_(std::move(functions)) {}
#define RTRAIN_LAMBDA_ANY(name, signature)                                                           \
  void name(Trainer& trainer, LightningModule& module RTRAIN_HOOK_PARAMETERS_##signature) override { \
    if (f_.name) f_.name(trainer, module RTRAIN_HOOK_ARGUMENTS_##signature);                         \
  }
#define RTRAIN_HOOK(id, name, log, period, signature) RTRAIN_FOR_CALLBACKS(signature, RTRAIN_LAMBDA_ANY, name)
#include <rtrain/hooks.def>
#undef RTRAIN_LAMBDA_ANY
  [[nodiscard]] const LambdaFunctions& functions() const { return f_; }

 private:
  LambdaFunctions f_;
};

}  // namespace rtrain
