#include "worker/data/stream_reader.h"

#include "worker/data/loader_stream.h"

#include <torch/csrc/autograd/grad_mode.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain::data {
namespace {

[[noreturn]] void refuse_state(const std::string& what, const nlohmann::json& saved, int here,
                               const std::string& way_out) {
  throw std::invalid_argument("DataLoader: the saved place in the stream is of " + what + " " +
                              (saved.is_number_integer() ? std::to_string(saved.get<std::int64_t>()) : "?") +
                              ", this loader has " + std::to_string(here) + ": " + way_out);
}

}  // namespace

StreamReader::StreamReader(std::shared_ptr<const StreamDataset> set, StreamReaderOptions options,
                           const nlohmann::json& state, std::function<void()> begin)
    : set_(std::move(set)),
      options_(options),
      workers_(static_cast<std::size_t>(std::max(1, options.num_workers))) {
  const auto places = restore(state);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    auto& worker = workers_[i];
    worker.given = places[i];
    if (worker.ended) continue;
    if (options_.num_workers == 0) {
      open(0, places[i]);
      continue;
    }
    worker.made = std::make_unique<OrderedBatches>(
        OrderedBatchesOptions{.first = 0,
                              .end = std::numeric_limits<std::int64_t>::max(),
                              .threads = 1,
                              .ahead = options_.ahead,
                              .timeout_s = options_.timeout_s},
        [this, &worker](std::int64_t) {
          auto batch = make(worker);
          if (batch) finish(*batch);
          return batch;
        },
        [this, i, begin, place = places[i]] {
          begin();
          open(static_cast<int>(i), place);
        });
  }
}

void StreamReader::open(int number, const Place& at) {
  const torch::NoGradGuard no_grad;
  auto& worker = workers_[static_cast<std::size_t>(number)];
  worker.stream = set_->open_batches({.rank = options_.rank,
                                      .ranks = options_.ranks,
                                      .worker = number,
                                      .workers = static_cast<int>(workers_.size()),
                                      .seed = options_.seed},
                                     options_.epoch);
  if (worker.stream == nullptr) throw std::logic_error("StreamDataset: open_batches() gave no stream");
  if (!at.state.is_null())
    worker.stream->load_state(at.state);
  else if (at.samples > 0)
    worker.stream->skip(at.samples);
  worker.read = at.samples;
}

std::optional<Batch> StreamReader::make(Worker& worker) const {
  const torch::NoGradGuard no_grad;
  auto read = worker.stream->next(options_.batch_size);
  if (read.samples == 0 || (options_.drop_last && read.samples < options_.batch_size)) return std::nullopt;
  worker.read += read.samples;
  Place place{worker.read, worker.stream->save_state()};
  auto batch = options_.pin_memory ? read.batch.pin_memory() : std::move(read.batch);
  const std::lock_guard lock(worker.mutex);
  worker.places.push_back(std::move(place));
  return batch;
}

std::optional<StreamReader::Taken> StreamReader::take() {
  for (std::size_t asked = 0; asked < workers_.size(); ++asked, asks_ = (asks_ + 1) % workers_.size()) {
    auto& worker = workers_[asks_];
    if (worker.ended) continue;
    auto batch = worker.made != nullptr ? worker.made->take() : make(worker);
    if (!batch) {
      worker.ended = true;
      continue;
    }
    if (worker.made != nullptr) hand_over(*batch);
    const std::lock_guard lock(worker.mutex);
    Taken taken{std::move(*batch), asks_, std::move(worker.places.front())};
    worker.places.pop_front();
    asks_ = (asks_ + 1) % workers_.size();
    return taken;
  }
  return std::nullopt;
}

bool StreamReader::has_next() {
  if (!waiting_) waiting_ = take();
  return waiting_.has_value();
}

std::optional<Batch> StreamReader::next() {
  if (!has_next()) return std::nullopt;
  auto taken = std::move(*waiting_);
  waiting_.reset();
  workers_[taken.worker].given = std::move(taken.place);
  turn_ = (taken.worker + 1) % workers_.size();
  return std::move(taken.batch);
}

// A worker is noted as ended only by what next() has passed over; one that a batch waits of has not.
nlohmann::json StreamReader::save_state() const {
  auto workers = nlohmann::json::array();
  for (const auto& worker : workers_)
    workers.push_back(
        {{"samples", worker.given.samples}, {"state", worker.given.state}, {"ended", worker.ended}});
  return {{"rank", options_.rank},
          {"ranks", options_.ranks},
          {"num_workers", options_.num_workers},
          {"turn", turn_},
          {"workers", std::move(workers)}};
}

std::vector<StreamReader::Place> StreamReader::restore(const nlohmann::json& state) {
  std::vector<Place> places(workers_.size());
  if (state.is_null()) return places;
  const auto expect = [&](const char* key, const std::string& what, int here, const std::string& way_out) {
    const auto& saved = state.at(key);
    if (saved != here) refuse_state(what, saved, here, way_out);
  };
  try {
    expect("ranks", "a job of ranks:", options_.ranks, "shards of other ranks have other samples");
    expect("rank", "rank", options_.rank, "each rank resumes its own");
    expect("num_workers", "num_workers", options_.num_workers, "give it as many threads as there were");
    const auto& saved = state.at("workers");
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      places[i] = {saved.at(i).at("samples").get<std::int64_t>(), saved.at(i).at("state")};
      workers_[i].ended = saved.at(i).at("ended").get<bool>();
    }
    turn_ = asks_ = state.at("turn").get<std::size_t>() % workers_.size();
  } catch (const nlohmann::json::exception& e) {
    throw std::invalid_argument(std::string("DataLoader: not a saved place in a stream: ") + e.what());
  }
  return places;
}

}  // namespace rtrain::data
