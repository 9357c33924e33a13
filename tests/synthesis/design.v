// A little design with the core's block names, for the parsers of reports (tests/test_synth.py): block RAM in two
// instances of one block, a multiplier in a DSP, distributed RAM, carry chains. Its reports beside it are from
// Yosys 0.23 and nextpnr-ecp5 0.11.1, by the commands in README.md.
module sanger_pins (input clk, input reset, input shift_in, input load, output shift_out);
    sanger_core core (.clk(clk), .reset(reset), .d(shift_in), .load(load), .q(shift_out));
endmodule

module sanger_core (input clk, input reset, input d, input load, output q);
    reg [47:0] shift;
    wire [15:0] a, b, product, sum;
    always @(posedge clk) shift <= reset ? 48'd0 : load ? {product, sum, shift[15:0]} : {shift[46:0], d};
    assign q = shift[47];
    sanger_bank inst_bank_0 (.clk(clk), .enable(load), .at(shift[9:0]), .d(shift[25:10]), .q(a));
    sanger_bank inst_bank_1 (.clk(clk), .enable(load), .at(shift[10:1]), .d(shift[26:11]), .q(b));
    sanger_array inst_array (.clk(clk), .a(a), .b(b), .product(product));
    sanger_predictor inst_predictor (.clk(clk), .enable(load), .at(shift[3:0]), .a(a), .b(b), .sum(sum));
endmodule

module sanger_bank (input clk, input enable, input [9:0] at, input [15:0] d, output reg [15:0] q);
    (* no_rw_check *) reg [15:0] memory [0:1023];
    always @(posedge clk) if (enable) memory[at] <= d;
    always @(posedge clk) q <= memory[at];
endmodule

module sanger_array (input clk, input [15:0] a, input [15:0] b, output reg [15:0] product);
    always @(posedge clk) product <= a * b;
endmodule

module sanger_predictor (
    input clk, input enable, input [3:0] at, input [15:0] a, input [15:0] b, output reg [15:0] sum
);
    (* ram_style = "distributed" *) reg [15:0] memory [0:15];
    always @(posedge clk) if (enable) memory[at] <= a + b;
    always @(posedge clk) sum <= memory[at] - a;
endmodule
