// A request to the head over a connection that may break under it.
#pragma once

#include "tests/sim/cluster.h"

namespace rtrain::sim {

/// `told` runs when the head says its answer, whoever hears it; `answered` when it arrives; `lost` when none
/// came in time.
template <class T>
void ask(Cluster& cluster, std::function<Result<T>(head::Dispatcher&)> question,
         std::function<void(const Result<T>&)> told, std::function<void(const Result<T>&)> answered,
         std::function<void()> lost) {
  constexpr double kAnswerLimitS = 5;
  auto& world = cluster.world();
  auto& random = world.random();
  const auto settled = std::make_shared<bool>(false);
  world.after(seconds(kAnswerLimitS), [settled, lost = std::move(lost)] {
    if (!std::exchange(*settled, true)) lost();
  });
  if (random.chance(0.01)) return;        // the question is lost
  const bool deaf = random.chance(0.02);  // the answer is
  world.after(
      seconds(random.between(0.0005, 0.02)), [&cluster, settled, deaf, question = std::move(question),
                                              told = std::move(told), answered = std::move(answered)] {
        cluster.head().ask<T>(question, [&cluster, settled, deaf, told, answered](const Result<T>& answer) {
          told(answer);
          if (deaf) return;
          cluster.world().after(seconds(cluster.world().random().between(0.0005, 0.02)),
                                [settled, answered, answer] {
                                  if (!std::exchange(*settled, true)) answered(answer);
                                });
        });
      });
}

}  // namespace rtrain::sim
