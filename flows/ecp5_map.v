// How adders and small memories are mapped on ECP5, before Yosys' own mapping of them.
//
// Constants cost nothing at most inputs of a LUT, but the carry input of a chain and the addresses of a distributed RAM
// are not among those: nextpnr drives them from one LUT through the whole part (of `small`, 8,000 inputs). It also puts
// two carry cells around each chain, one to bring the constant in and one to bring the last carry out, used or not.

// An adder: one half of the first cell makes the carry, the bits follow, and the half behind the last one brings the carry
// out. (A cell whose outputs nobody reads goes, and synth.tcl disconnects the carry output that led there.)
(* techmap_celltype = "$alu" *)
module carry_chain(A, B, CI, BI, X, Y, CO);
    parameter A_SIGNED = 0;
    parameter B_SIGNED = 0;
    parameter A_WIDTH = 1;
    parameter B_WIDTH = 1;
    parameter Y_WIDTH = 1;

    (* force_downto *)
    input [A_WIDTH-1:0] A;
    (* force_downto *)
    input [B_WIDTH-1:0] B;
    input CI, BI;
    (* force_downto *)
    output [Y_WIDTH-1:0] X, Y, CO;

    wire _TECHMAP_FAIL_ = Y_WIDTH <= 4;  // as in Yosys' own mapping: LUTs are better

    (* force_downto *)
    wire [Y_WIDTH-1:0] a, b;
    \$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) a_extended(.A(A), .Y(a));
    \$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) b_extended(.A(B), .Y(b));

    localparam CELLS = (Y_WIDTH + 3) / 2;
    localparam IDLE = 2 * CELLS - Y_WIDTH - 1;  // halves behind the last bit
    localparam [15:0] CARRY_IN = 16'h000A;  // no sum, carry is A
    localparam [15:0] BIT = 16'h96AA;  // A + (B ^ C)
    localparam [15:0] CARRY_OUT = 16'h0000;  // the sum is the carry

    wire [2*CELLS-1:0] left = {{IDLE{1'b1}}, a, CI};
    wire [2*CELLS-1:0] right = {{IDLE{1'b1}}, b, 1'b1};
    wire [2*CELLS-1:0] invert = {{IDLE{1'b1}}, {Y_WIDTH{BI}}, 1'b1};
    wire [2*CELLS-1:0] sum;

    genvar i;
    generate for (i = 0; i < CELLS; i = i + 1) begin: cells
        wire carry_in, carry_out;
        if (i == 0)
            assign carry_in = 1'bx;
        else
            assign carry_in = cells[i-1].carry_out;
        CCU2C #(
            .INIT0(i == 0 ? CARRY_IN : 2 * i <= Y_WIDTH ? BIT : CARRY_OUT),
            .INIT1(2 * i + 1 <= Y_WIDTH ? BIT : CARRY_OUT),
            .INJECT1_0("NO"), .INJECT1_1("NO")
        ) chain(
            .A0(left[2*i]), .B0(right[2*i]), .C0(invert[2*i]), .D0(1'b1),
            .A1(left[2*i+1]), .B1(right[2*i+1]), .C1(invert[2*i+1]), .D1(1'b1),
            .CIN(carry_in), .S0(sum[2*i]), .S1(sum[2*i+1]), .COUT(carry_out));
    end endgenerate

    assign X = a ^ b ^ {Y_WIDTH{BI}};
    assign Y = sum[Y_WIDTH:1];
    assign CO = sum[Y_WIDTH+1:2] ^ ({1'b0, X} >> 1);
endmodule

// A memory of fewer than 16 words: the lowest address bit instead of the constant ones, in both addresses, so that each word
// has one place as before. (All words begin with zeros, or with nothing in particular.)
(* techmap_celltype = "TRELLIS_DPR16X4" *)
module few_words(input [3:0] DI, WAD, RAD, input WRE, WCK, output [3:0] DO);
    parameter WCKMUX = "WCK";
    parameter WREMUX = "WRE";
    parameter [63:0] INITVAL = 64'bx;
    parameter _TECHMAP_CONSTMSK_WAD_ = 0;
    parameter _TECHMAP_CONSTMSK_RAD_ = 0;
    parameter _TECHMAP_CONSTVAL_WAD_ = 0;
    parameter _TECHMAP_CONSTVAL_RAD_ = 0;

    localparam [3:0] CONSTANT = _TECHMAP_CONSTMSK_WAD_ & _TECHMAP_CONSTMSK_RAD_;
    wire _TECHMAP_FAIL_ = CONSTANT == 0 || CONSTANT[0] || (|INITVAL) === 1'b1
        || ((_TECHMAP_CONSTVAL_WAD_ ^ _TECHMAP_CONSTVAL_RAD_) & CONSTANT) != 0;

    TRELLIS_DPR16X4 #(.WCKMUX(WCKMUX), .WREMUX(WREMUX), .INITVAL(INITVAL)) _TECHMAP_REPLACE_(
        .DI(DI), .WRE(WRE), .WCK(WCK), .DO(DO),
        .WAD(WAD & ~CONSTANT | {4{WAD[0]}} & CONSTANT),
        .RAD(RAD & ~CONSTANT | {4{RAD[0]}} & CONSTANT));
endmodule
