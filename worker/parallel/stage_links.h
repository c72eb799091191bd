// The messages between neighbouring stages of a pipeline.
#pragma once

#include "worker/parallel/pipeline_schedule.h"

#include <rtrain/communicator.h>

#include <torch/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::parallel {

/// An activation goes from a stage to the next one, its gradient back. The receiver learns shape and type of
/// an activation with the first one of a batch of new shapes; from then on only numbers travel.
/// @thread the training thread.
class StageLinks {
 public:
  /// Every rank of the pipeline makes them, in the same place.
  StageLinks(Communicator& pipeline, const PipelineShape& shape, torch::Device device);

  /// @param batch what the shapes of the activations that follow depend on, the same on every rank.
  void begin(std::string batch) { batch_ = std::move(batch); }
  /// The input of `stage`, which this rank has.
  [[nodiscard]] torch::Tensor receive_activation(int stage);
  /// The output of `stage`. Does not wait.
  /// @throws std::logic_error it is nothing that can be sent, or has another shape than before for such a
  ///         batch (names stage and shapes).
  void send_activation(int stage, const torch::Tensor& output);
  /// Of the output of `stage`.
  [[nodiscard]] torch::Tensor receive_gradient(int stage);
  /// Of the input of `stage`.
  void send_gradient(int stage, const torch::Tensor& gradient);
  /// For messages between stages that are no neighbours. Not the group of the whole job: that counts the
  /// calls of its ranks, to notice where they part.
  [[nodiscard]] Communicator& others() const { return *others_; }
  /// Waits until all that was sent is on its way, so that its memory may go.
  void finish();

 private:
  struct Form {
    torch::ScalarType type = torch::kFloat32;
    std::vector<std::int64_t> sizes{};
    friend bool operator==(const Form&, const Form&) = default;
  };
  [[nodiscard]] Form& form_of(int edge) { return forms_.at({edge, batch_}); }
  /// Edge e is between stage e and the next one.
  [[nodiscard]] int lower(int edge) const { return edge % shape_.ranks; }
  [[nodiscard]] int upper(int edge) const { return (edge + 1) % shape_.ranks; }
  [[nodiscard]] Communicator& up(int edge) const { return upper(edge) == 0 ? *wrap_up_ : *up_; }
  [[nodiscard]] Communicator& down(int edge) const { return upper(edge) == 0 ? *wrap_down_ : *down_; }
  [[nodiscard]] static std::string words(const Form& form);
  void send(Communicator& way, const torch::Tensor& tensor, int to, int tag, const char* what);

  PipelineShape shape_;
  torch::Device device_;
  /// One for each direction, and for the edges from the last rank to the first: on NCCL the messages of a
  /// pair follow each other in one order, whatever their direction.
  std::shared_ptr<Communicator> up_, down_, wrap_up_, wrap_down_, others_;
  std::string batch_;
  std::map<std::pair<int, std::string>, Form> forms_;  ///< by edge and batch
  std::deque<std::pair<Work, torch::Tensor>> sent_;
};

}  // namespace rtrain::parallel
