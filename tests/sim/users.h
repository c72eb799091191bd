// The people of the run: they submit, cancel and look, through connections that may break under every request.
#pragma once

#include "tests/sim/cluster.h"

namespace rtrain::sim {

class Users {
 public:
  explicit Users(Cluster& cluster);
  /// Everything that was to be submitted is acknowledged, everything that was to be cancelled is answered.
  [[nodiscard]] bool content() const { return open_ == 0; }

 private:
  void submit(const JobPlan& plan);
  void cancel(JobId id, const std::string& name);
  void hold(JobId id, double held_s);
  void release(JobId id);
  void look();
  void want_a_place();
  /// An operator ends what runs far longer than any job does: those that hang, and whose acknowledgement was lost.
  void clean_up();
  /// `call` puts the question to the head. Its answer comes to `answered`; `lost` runs when none came in time.
  template <class Answer>
  void ask(std::function<void(std::function<void(Answer)>)> call, std::function<void(Answer)> answered, std::function<void()> lost);

  Cluster& cluster_;
  World& world_;
  int open_ = 0;
};

}  // namespace rtrain::sim
