#pragma once

#include <rtrain/callback.h>

#include <functional>

namespace rtrain {

/// Functions for the hooks that are wanted most; the others are a class of their own away.
struct RTRAIN_API LambdaFunctions {
  using Plain = std::function<void(Trainer&, LightningModule&)>;
  Plain on_fit_start{}, on_train_start{}, on_train_epoch_start{};
  std::function<void(Trainer&, LightningModule&, const Batch&, std::int64_t)> on_train_batch_start{};
  std::function<void(Trainer&, LightningModule&, const torch::Tensor&)> on_before_backward{};
  Plain on_after_backward{};
  std::function<void(Trainer&, LightningModule&, Optimizer&)> on_before_optimizer_step{};
  std::function<void(Trainer&, LightningModule&, const torch::Tensor&, const Batch&, std::int64_t)>
      on_train_batch_end{};
  Plain on_validation_start{}, on_validation_end{}, on_train_epoch_end{}, on_train_end{}, on_fit_end{};
};

class RTRAIN_API LambdaCallback : public Callback {
 public:
  explicit LambdaCallback(LambdaFunctions functions) : f_(std::move(functions)) {}
  void on_fit_start(Trainer& t, LightningModule& m) override { call(f_.on_fit_start, t, m); }
  void on_train_start(Trainer& t, LightningModule& m) override { call(f_.on_train_start, t, m); }
  void on_train_epoch_start(Trainer& t, LightningModule& m) override { call(f_.on_train_epoch_start, t, m); }
  void on_train_batch_start(Trainer& t, LightningModule& m, const Batch& b, std::int64_t i) override {
    call(f_.on_train_batch_start, t, m, b, i);
  }
  void on_before_backward(Trainer& t, LightningModule& m, const torch::Tensor& loss) override {
    call(f_.on_before_backward, t, m, loss);
  }
  void on_after_backward(Trainer& t, LightningModule& m) override { call(f_.on_after_backward, t, m); }
  void on_before_optimizer_step(Trainer& t, LightningModule& m, Optimizer& o) override {
    call(f_.on_before_optimizer_step, t, m, o);
  }
  void on_train_batch_end(Trainer& t, LightningModule& m, const torch::Tensor& loss, const Batch& b,
                          std::int64_t i) override {
    call(f_.on_train_batch_end, t, m, loss, b, i);
  }
  void on_validation_start(Trainer& t, LightningModule& m) override { call(f_.on_validation_start, t, m); }
  void on_validation_end(Trainer& t, LightningModule& m) override { call(f_.on_validation_end, t, m); }
  void on_train_epoch_end(Trainer& t, LightningModule& m) override { call(f_.on_train_epoch_end, t, m); }
  void on_train_end(Trainer& t, LightningModule& m) override { call(f_.on_train_end, t, m); }
  void on_fit_end(Trainer& t, LightningModule& m) override { call(f_.on_fit_end, t, m); }

 private:
  template <class F, class... A>
  static void call(const F& function, A&&... arguments) {
    if (function) function(std::forward<A>(arguments)...);
  }
  LambdaFunctions f_;
};

}  // namespace rtrain
