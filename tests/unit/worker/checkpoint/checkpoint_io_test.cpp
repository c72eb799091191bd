#include "tests/support/catch.h"
#include "tests/support/checksums.h"
#include "tests/support/memory_io.h"
#include "tests/support/state.h"
#include "tests/support/training.h"

#include <algorithm>
#include <fstream>

namespace checkpoint_io_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::Folder;
using rtrain::test::MemoryIO;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::state_of;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> names_in(const MemoryIO::Files& files) {
  std::vector<std::string> names;
  for (const auto& [name, text] : files) names.push_back(name);
  return names;
}

}  // namespace

TEST_CASE("checkpoint io: saves, loads and removals go through the plugin", "[unit][checkpoint]") {
  const Folder folder;
  const auto io = std::make_shared<MemoryIO>();
  const auto data = boring_loader(8);
  auto checkpoints =
      std::make_shared<ModelCheckpoint>(ModelCheckpointOptions{.dirpath = folder / "c", .save_last = true});
  torch::manual_seed(1);
  BoringModel model;
  Trainer trainer(quiet({.max_epochs = 3, .plugins = {io}, .callbacks = {checkpoints}}));
  trainer.fit(model, data);
  CHECK(&trainer.checkpoint_io() == io.get());
  CHECK_FALSE(fs::exists(folder / "c"));

  const auto stored = io->stored();
  const auto best = (folder / "c/epoch=2-step=24.ckpt").string(), last = (folder / "c/last.ckpt").string();
  REQUIRE(stored.size() == 2);  // no links: the last one is a second checkpoint
  REQUIRE(stored.contains(best));
  CHECK(names_in(stored.at(best)) == std::vector<std::string>{"checksums.json", "loop.json",
                                                              "model.safetensors", "optimizer.safetensors",
                                                              "rng-rank0.safetensors"});
  CHECK(stored.contains(last));
  const auto sums = nlohmann::json::parse(stored.at(best).at("checksums.json")).at("files");
  CHECK(sums.size() == 4);
  for (const auto& item : sums.items()) CHECK(test::fits(stored.at(best).at(item.key()), item.value()));
  const auto said = io->said();
  CHECK(std::count(said.begin(), said.end(), "remove epoch=0-step=8.ckpt") == 1);

  SECTION("a fit resumes from it, with the same bits") {
    torch::manual_seed(1);
    BoringModel whole;
    Trainer(quiet({.max_epochs = 5})).fit(whole, data);
    BoringModel resumed;
    Trainer rest(quiet({.max_epochs = 5, .plugins = {io}}));
    rest.fit(resumed, data, {}, best);
    CHECK(rest.global_step() == 40);
    CHECK(same_bits(state_of(resumed), state_of(whole)));
  }
  SECTION("by name") {
    BoringModel other;
    (void)trainer.validate(other, data, "best");
    CHECK(same_bits(state_of(other), state_of(model)));
    BoringModel another;
    (void)trainer.validate(another, data, "last");
    CHECK(same_bits(state_of(another), state_of(model)));
  }
  SECTION("one that is not there says so") {
    BoringModel other;
    CHECK_THROWS_WITH(trainer.validate(other, data, (folder / "none").string()),
                      Catch::Contains("there is no such folder"));
  }
}

TEST_CASE("checkpoint io: a save that fails publishes nothing, and leaves the one before",
          "[unit][checkpoint]") {
  const Folder folder;
  const auto io = std::make_shared<MemoryIO>();
  BoringModel model;
  Trainer trainer(quiet({.max_epochs = 1, .plugins = {io}}));
  trainer.fit(model, boring_loader(2));
  trainer.save_checkpoint(folder / "c");
  const auto before = io->stored();
  io->before_write = [](const std::string& file) {
    if (file == "optimizer.safetensors") throw std::runtime_error("no space left");
  };
  CHECK_THROWS_WITH(trainer.save_checkpoint(folder / "c"), Catch::Contains("no space left"));
  CHECK(io->stored() == before);
}

TEST_CASE("checkpoint io: the local one writes under a hidden name and publishes by a rename",
          "[unit][checkpoint]") {
  const Folder folder;
  LocalCheckpointIO io;
  const auto text = [](const std::string& bytes) {
    return [bytes](const CheckpointDraft::Append& append) { append(bytes); };
  };
  {
    auto draft = io.begin(folder / "c", 0);
    draft->write("model.safetensors", text("one"));
    CHECK_FALSE(io.exists(folder / "c"));
    auto of_rank_1 = io.begin(folder / "c", 1);
    of_rank_1->write("rng-rank1.safetensors", text("two"));
    REQUIRE(draft->open("rng-rank1.safetensors") != nullptr);
    draft->publish();
    of_rank_1->publish();
  }
  auto stored = io.open(folder / "c");
  REQUIRE(stored != nullptr);
  auto file = stored->open("rng-rank1.safetensors");
  REQUIRE(file != nullptr);
  CHECK(file->size() == 3);
  std::string two(2, '\0');
  file->read(1, two.data(), 2);
  CHECK(two == "wo");
  CHECK(stored->open("nothing") == nullptr);
  {
    auto unpublished = io.begin(folder / "c", 0);
    unpublished->write("model.safetensors", text("new"));
  }
  CHECK(fs::file_size(folder / "c/rng-rank1.safetensors") == 3);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  io.remove(folder / "c");
  CHECK_FALSE(io.exists(folder / "c"));
  io.remove(folder / "c");
  CHECK(io.open(folder / "c") == nullptr);

  fs::create_directory(folder / "mine");
  std::ofstream(folder / "mine/thesis.txt") << "x";
  CHECK_THROWS_WITH(io.begin(folder / "mine", 0), Catch::Contains("is not a checkpoint"));
  CHECK(io.is_local());
}

TEST_CASE("checkpoint io: at most one, by name or as an object", "[unit][checkpoint]") {
  CHECK(Names<CheckpointIO>::from_json("LocalCheckpointIO")->name() == "LocalCheckpointIO");
  CHECK_THROWS_WITH(Trainer(quiet({.max_epochs = 1, .plugins = {LocalCheckpointIO(), LocalCheckpointIO()}})),
                    Catch::Contains("plugins holds more than one CheckpointIO"));
}

}  // namespace checkpoint_io_test
