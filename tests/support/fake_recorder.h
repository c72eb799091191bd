// A Recorder for the CPU: a recording is the step itself, done again.
#pragma once

#include "worker/step/recorder.h"

#include <functional>
#include <memory>
#include <utility>

namespace rtrain::test {

/// The real one records without doing and replays. This one does while it records, leaves out the first
/// replay, and does it all again in the later ones. So what a step has as a constant of its capture (the
/// buffers of the batch, the place in the epoch) is the same in both.
class FakeRecorder final : public Recorder {
 public:
  std::unique_ptr<Recording> record(const std::function<void()>& body) override {
    ++records;
    if (fault) fault();
    body();
    return std::make_unique<Again>(*this, body);
  }
  int records = 0, replays = 0;
  std::function<void()> fault{};  ///< throws, as an operation that cannot be recorded

 private:
  class Again final : public Recording {
   public:
    Again(FakeRecorder& of, std::function<void()> body) : of_(of), body_(std::move(body)) {}
    void replay() override {
      ++of_.replays;
      if (!std::exchange(done_, true)) return;
      body_();
    }

   private:
    FakeRecorder& of_;
    std::function<void()> body_;
    bool done_ = false;
  };
};

/// While it lives, a Trainer with cuda_graph on the CPU records with `recorder`.
class WithFakeRecorder {
 public:
  WithFakeRecorder() {
    current() = recorder;
    before_ = replace_make_recorder([](torch::Device) -> std::shared_ptr<Recorder> { return current(); });
  }
  ~WithFakeRecorder() {
    (void)replace_make_recorder(before_);
    current() = nullptr;
  }
  WithFakeRecorder(const WithFakeRecorder&) = delete;
  WithFakeRecorder& operator=(const WithFakeRecorder&) = delete;
  const std::shared_ptr<FakeRecorder> recorder = std::make_shared<FakeRecorder>();

 private:
  static std::shared_ptr<FakeRecorder>& current() {
    static std::shared_ptr<FakeRecorder> one;
    return one;
  }
  MakeRecorder before_ = nullptr;
};

}  // namespace rtrain::test
